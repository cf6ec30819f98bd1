//! systemd's journal, or the part of it that some units wrote: read by journalctl(1), which knows its
//! files and is always there, with options and never through a shell.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::io::{AsyncRead, ReadBuf};

use super::access::{Need, explain};
use super::config::{TargetConfigError, absolute};
use super::kind::{Open, Settings};
use super::log;
use super::names::Names;
use super::opened::{OpenError, Opened, Opening, Output, Process, blocking};
use super::params::{ParamError, Params};
use super::program::Program;
use super::sandbox::Wants;
use crate::protocol::failure::Failure;
use crate::protocol::grant::unix;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

/// journalctl asks /proc/sys/kernel/random/boot_id which boot this is.
const BOOT_ID: Wants = Wants::Settings(&["ProcSubset=all"]);

const JOURNALCTL: &str = "/usr/bin/journalctl";

/// Where journals are: those that last, and those of this boot (systemd-journald.service(8)).
const PLACES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Lines shown first where the owner does not say: as journalctl(1) itself.
const LINES: u32 = 10;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    units: Names,
    priority: Option<Priority>,
    #[serde(default)]
    output: Form,
    lines: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    since: Option<Duration>,
    directory: Option<PathBuf>,
    namespace: Option<String>,
    #[serde(default)]
    raw: bool,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Journal {
    units: Names,
    priority: Option<Priority>,
    form: Form,
    lines: Option<u32>,
    /// How far back it begins.
    since: Option<Duration>,
    directory: Option<PathBuf>,
    namespace: Option<String>,
    is_raw: bool,
}

/// The least important messages that are shown (syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

/// How entries are written (journalctl(1), `--output`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    #[default]
    Short,
    ShortIso,
    ShortPrecise,
    Verbose,
    Json,
    Cat,
}

impl Form {
    const fn label(self) -> &'static str {
        match self {
            Form::Short => "short",
            Form::ShortIso => "short-iso",
            Form::ShortPrecise => "short-precise",
            Form::Verbose => "verbose",
            Form::Json => "json",
            Form::Cat => "cat",
        }
    }
}

impl Settings for Journal {
    const NAME: &'static str = "journal";
    /// Each is a process.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Bulk;
    type Raw = Raw;
    type Bound = OfUnits;

    fn check(raw: Raw) -> Result<Journal, TargetConfigError> {
        if let Some(name) = &raw.namespace {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.bytes().all(is_word) {
                return Err(TargetConfigError::at(
                    "namespace",
                    format!("\"{name}\" is no journal namespace"),
                ));
            }
        }
        if raw.units.globs().any(|glob| glob.starts_with('-')) {
            return Err(TargetConfigError::at("units", "no unit's name begins with a dash"));
        }
        Ok(Journal {
            units: raw.units,
            priority: raw.priority,
            form: raw.output,
            lines: raw.lines,
            since: raw.since,
            directory: raw.directory.map(|path| absolute("directory", path)).transpose()?,
            namespace: raw.namespace,
            is_raw: raw.raw,
        })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Ro]
    }

    /// Without it, all units that are allowed.
    fn params(&self) -> Vec<String> {
        self.units.wants("unit")
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<OfUnits, ParamError> {
        let units = match params.has("unit") {
            true => vec![self.units.pick("unit", params)?],
            // `--unit='*'` would leave the kernel out, and what belongs to no unit.
            false if self.units.are_all() => vec![],
            false => self.units.globs().map(str::to_owned).collect(),
        };
        Ok(OfUnits { journal: self.clone(), units })
    }

    fn wants(&self) -> Vec<Wants> {
        let place = match &self.directory {
            Some(directory) => Wants::Path(directory.clone(), Need::Read),
            None => Wants::Group("systemd-journal"),
        };
        vec![place, BOOT_ID]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let (journal, program) = (self.clone(), Program::new(JOURNALCTL, vec![], false).probe().await);
        program?;
        blocking(move || journal.look()).await
    }
}

impl Journal {
    /// Looks whether the system's journal may be read: journalctl(1) shows what it may, and so perhaps nothing.
    fn look(&self) -> Result<String, OpenError> {
        let places = match &self.directory {
            Some(directory) => vec![directory.clone()],
            None => PLACES.iter().map(PathBuf::from).collect(),
        };
        let mut refused = None;
        for place in &places {
            match system_journal(place, self.namespace.as_deref()) {
                Ok(Some(path)) => return Ok(format!("{} may be read", path.display())),
                Ok(None) => {}
                Err((path, error)) => refused = Some(explain(&path, Need::Read, &error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            let (places, namespace) = (places.join(" or "), self.namespace.as_ref());
            OpenError::failed(match namespace {
                None => format!("there is no journal in {places}: does systemd-journald run?"),
                Some(name) => format!(
                    "there is no journal of namespace {name} in {places}: does systemd-journald@{name} run?"
                ),
            })
        }))
    }
}

/// A file of the system's journal below `place` that may be read. Of a namespace, it is in MACHINE.NAMESPACE.
fn system_journal(place: &Path, namespace: Option<&str>) -> Result<Option<PathBuf>, (PathBuf, io::Error)> {
    let machines = match fs::read_dir(place) {
        Ok(machines) => machines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err((place.to_owned(), error)),
    };
    let is_meant = |path: &PathBuf| {
        let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
        path.is_dir() && extension.as_deref() == namespace
    };
    let directories = std::iter::once(place.to_owned())
        .filter(|_| namespace.is_none())
        .chain(machines.filter_map(|entry| Some(entry.ok()?.path())).filter(is_meant));
    for directory in directories {
        let path = directory.join("system.journal");
        match fs::File::open(&path) {
            Ok(_) => return Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((path, error)),
        }
    }
    Ok(None)
}

/// The journal of some units.
#[derive(Clone, Debug)]
pub(super) struct OfUnits {
    journal: Journal,
    /// Names or globs; none for everything.
    units: Vec<String>,
}

impl Open for OfUnits {
    async fn open(&self, opening: Opening) -> Result<Opened, OpenError> {
        let journal = self.journal.clone();
        blocking(move || journal.look()).await?;
        let since = self.journal.since.map(|ago| unix(SystemTime::now() - ago));
        let reader = self.read(since, self.journal.lines, opening).await?;
        let this = self.clone();
        let again = move |time| -> log::Opening {
            let this = this.clone();
            Box::pin(async move { Ok(Box::new(this.read(Some(time), None, opening).await?) as Output) })
        };
        Ok(log::opened(reader, self.journal.is_raw, Some(Box::new(again))))
    }
}

impl OfUnits {
    async fn read(
        &self,
        since: Option<u64>,
        lines: Option<u32>,
        opening: Opening,
    ) -> Result<Reader, OpenError> {
        let program = Program::new(JOURNALCTL, self.arguments(since, lines), false);
        let program = Program { is_ours: true, ..program };
        let Opened { output, process, .. } = program.open(opening).await?;
        Ok(Reader { output, _process: process })
    }

    fn arguments(&self, since: Option<u64>, lines: Option<u32>) -> Vec<String> {
        let journal = &self.journal;
        let mut arguments: Vec<String> =
            ["--quiet", "--no-pager", "--all", "--follow"].map(str::to_owned).into();
        arguments.push(format!("--output={}", journal.form.label()));
        arguments.push(match (lines, since) {
            (Some(lines), _) => format!("--lines={lines}"),
            (None, Some(_)) => "--lines=all".to_owned(),
            (None, None) => format!("--lines={LINES}"),
        });
        arguments.extend(since.map(|time| format!("--since=@{time}")));
        arguments.extend(journal.priority.map(|least| format!("--priority={}", least as u8)));
        arguments.extend(journal.directory.as_ref().map(|path| format!("--directory={}", path.display())));
        arguments.extend(journal.namespace.as_ref().map(|name| format!("--namespace={name}")));
        arguments.extend(self.units.iter().map(|unit| format!("--unit={unit}")));
        arguments
    }
}

/// What journalctl(1) says; it ends when this is dropped. It follows the journal for ever, so its end is
/// never the journal's.
struct Reader {
    output: Output,
    _process: Option<Process>,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(cx, buf))?;
        match buf.filled().len() == before && buf.remaining() > 0 {
            true => Poll::Ready(Err(Failure::ReaderEnded.error("journalctl has ended"))),
            false => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::agent::target::Target;

    fn journal(text: &str) -> Journal {
        Journal::check(toml::from_str(text).unwrap()).unwrap()
    }

    fn arguments(text: &str, unit: Option<&str>) -> Vec<String> {
        let given: BTreeMap<_, _> =
            unit.map(|unit| ("unit".to_owned(), unit.to_owned())).into_iter().collect();
        let bound = journal(text).bind(&mut Params::new(&given)).unwrap();
        let journal = &bound.journal;
        bound.arguments(journal.since.map(|_| 1700), journal.lines).split_off(4)
    }

    #[test]
    fn the_owners_settings_become_options() {
        assert_eq!(
            arguments("units = ['ssh.service', 'web@*']", None),
            ["--output=short", "--lines=10", "--unit=ssh.service", "--unit=web@*"]
        );
        assert_eq!(
            arguments("units = ['web@*']", Some("web@1")),
            ["--output=short", "--lines=10", "--unit=web@1"]
        );
        let all = "units = ['*']\npriority = 'warning'\noutput = 'json'\nsince = '1h'\ndirectory = '/j'\nnamespace = 'n'";
        assert_eq!(
            arguments(all, None),
            [
                "--output=json",
                "--lines=all",
                "--since=@1700",
                "--priority=4",
                "--directory=/j",
                "--namespace=n"
            ]
        );
        assert_eq!(arguments("units = ['*']\nsince = '1h'\nlines = 0", None)[1], "--lines=0");
    }

    #[test]
    fn a_namespace_has_a_journal_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let look = |more: &str| journal(&format!("units = ['*']\ndirectory = '{at}'\n{more}")).look();
        let make = |name: &str| {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("system.journal"), "").unwrap();
        };
        make("1a2b.web");
        assert!(look("").unwrap_err().message.contains("does systemd-journald run?"));
        assert!(look("namespace = 'web'").unwrap().contains("1a2b.web/system.journal"));
        make("1a2b");
        assert!(look("").unwrap().contains("1a2b/system.journal"));
        let error = look("namespace = 'db'").unwrap_err().message;
        assert!(error.ends_with("does systemd-journald@db run?"), "{error}");
    }

    #[test]
    fn what_is_no_unit_is_refused() {
        let target =
            |text: &str| Target::from_table("t", format!("kind = 'journal'\n{text}").parse().unwrap());
        let given = BTreeMap::from([("unit".to_owned(), "db".to_owned())]);
        let refused = target("units = ['web']").unwrap().bind(&given).unwrap_err();
        assert!(refused.rule.contains("not among"), "{refused}");
        for (text, key) in [
            ("units = []", "units"),
            ("units = ['-o']", "units"),
            ("", ""),
            ("units = ['a']\noutput = 'xml'", "output"),
            ("units = ['a']\npriority = '9'", "priority"),
            ("units = ['a']\nnamespace = '--help'", "namespace"),
            ("units = ['a']\nmodes = ['rw']", "modes"),
        ] {
            assert_eq!(target(text).unwrap_err().key.unwrap_or_default(), key, "{text}");
        }
    }
}
