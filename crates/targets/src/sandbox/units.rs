//! The units of cells for targets with needs of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::needs::{MADE_BY, Needs, Process, is_member, names};
use crate::kinds::Kind;
use crate::support::cell::Cell;
use crate::support::wants::OPENER_USER;
use crate::target::Target;

/// The unit that the others are derived from.
const CELL: &str = include_str!("../../../../systemd/stream-agent-program@.service");

/// What the names of the units begin with. The rest is the target's name.
const PREFIX: &str = "stream-agent-open-";

/// The folder with the links by which the agent's service starts the sockets.
const WANTED: &str = "stream-agent.service.wants";

/// The drop-in of the unsplit agent, which gives its service what only cells need now.
const OLD_DROP_IN: &str = "stream-agent.service.d/targets.conf";

/// The files of the units, by their names.
#[derive(Debug)]
pub struct Units {
    files: BTreeMap<String, String>,
    /// What no unit can give.
    remarks: Vec<String>,
}

/// A unit's file that is not what the targets need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitChange {
    /// It is needed, and is not there.
    Add(String),
    /// It is there, and is out of date.
    Replace(String),
    /// It was written by an earlier call, and is not needed any more.
    Remove(String),
}

impl UnitChange {
    pub fn name(&self) -> &str {
        match self {
            UnitChange::Add(name) | UnitChange::Replace(name) | UnitChange::Remove(name) => name,
        }
    }

    /// What was done in `dir`, in words.
    pub fn done(&self, dir: &Path) -> String {
        let word = if matches!(self, UnitChange::Remove(_)) { "removed" } else { "wrote" };
        format!("{word} {}", dir.join(self.name()).display())
    }
}

/// A file that could not be written.
#[derive(Debug)]
pub struct WriteError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for WriteError {}

impl Units {
    /// The units that these targets need on this host.
    pub fn new(targets: &[Target]) -> Units {
        let (mut files, mut remarks) = (BTreeMap::new(), BTreeMap::<String, BTreeSet<String>>::new());
        for target in targets {
            let needs = Needs::of(std::slice::from_ref(target), Process::Cell);
            for (text, of) in &needs.remarks {
                remarks.entry(text.clone()).or_default().extend(of.iter().cloned());
            }
            if !needs_unit(target, &needs) {
                continue;
            }
            let unit = format!("{PREFIX}{}", target.name);
            let sharing = sharing(target, targets);
            files.insert(format!("{unit}.socket"), socket(target, sharing));
            if sharing.is_some() {
                continue;
            }
            let at = if target.cell() == Cell::Shared { "" } else { "@" };
            files.insert(format!("{unit}{at}.service"), service(target, &needs));
        }
        let remarks = remarks.iter().map(|(text, targets)| format!("{}: {text}", names(targets))).collect();
        Units { files, remarks }
    }

    /// What the owner must do besides, because no unit gives it.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The name of the socket's unit of a target, if it has one.
    pub fn socket_of(&self, target: &str) -> Option<&str> {
        let name = format!("{PREFIX}{target}.socket");
        self.files.get_key_value(&name).map(|(name, _)| name.as_str())
    }

    /// The names of the units' files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// What differs between a folder and these units.
    pub fn changes(&self, dir: &Path) -> Vec<UnitChange> {
        let needed = self.files.iter().filter_map(|(name, text)| match fs::read_to_string(dir.join(name)) {
            Ok(there) if there == *text => None,
            Ok(_) => Some(UnitChange::Replace(name.clone())),
            Err(_) => Some(UnitChange::Add(name.clone())),
        });
        self.stale(dir).into_iter().map(UnitChange::Remove).chain(needed).collect()
    }

    /// Writes the units, and removes those of earlier calls that are not needed any more. Returns what was done, one
    /// change for each file.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub fn write(&self, dir: &Path) -> Result<Vec<UnitChange>, WriteError> {
        let changes = self.changes(dir);
        for change in &changes {
            let path = dir.join(change.name());
            match self.files.get(change.name()) {
                Some(text) => {
                    at(&path, fs::create_dir_all(dir))?;
                    at(&path, replace(&path, text))?;
                }
                None => {
                    remove(&path)?;
                    let link = dir.join(WANTED).join(change.name());
                    if link.is_symlink() {
                        remove(&link)?;
                    }
                }
            }
        }
        for socket in self.names().filter(|name| name.ends_with(".socket")) {
            let link = dir.join(WANTED).join(socket);
            if !link.is_symlink() {
                at(&link, fs::create_dir_all(dir.join(WANTED)))?;
                at(&link, symlink(Path::new("..").join(socket), &link))?;
            }
        }
        Ok(changes)
    }

    /// What differs between a folder and these units, in words.
    pub fn differences(&self, dir: &Path) -> Vec<String> {
        let words = |change| match change {
            UnitChange::Add(name) => format!("{name} is missing"),
            UnitChange::Replace(name) => format!("{name} is out of date"),
            UnitChange::Remove(name) => format!("{name} is not needed any more"),
        };
        let (gone, needed): (Vec<_>, Vec<_>) =
            self.changes(dir).into_iter().partition(|change| matches!(change, UnitChange::Remove(_)));
        needed.into_iter().chain(gone).map(words).collect()
    }

    /// Names of files that an earlier call has written, and that are not needed any more.
    fn stale(&self, dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let ours = names.filter(|name| name.starts_with(PREFIX) && !self.files.contains_key(name));
        let mut stale: Vec<String> = ours.filter(|name| is_made(&dir.join(name))).collect();
        let old = dir.join(OLD_DROP_IN);
        if is_made(&old) {
            stale.push(OLD_DROP_IN.into());
        }
        stale.sort();
        stale
    }
}

/// Whether neither the opener nor the unit of programs can open it.
fn needs_unit(target: &Target, needs: &Needs) -> bool {
    // The owner may have made the opener a member of groups, for all targets.
    let has_group = |line: &str| {
        line.strip_prefix("SupplementaryGroups=").is_some_and(|group| is_member(OPENER_USER, group))
    };
    match target.cell() {
        Cell::Opener => !needs.settings.keys().all(|line| has_group(line)),
        Cell::Program => !needs.settings.is_empty(),
        Cell::Own | Cell::Shared => true,
    }
}

fn is_made(path: &Path) -> bool {
    // Earlier versions began with another sentence.
    fs::read_to_string(path).is_ok_and(|text| {
        text.starts_with(MADE_BY)
            || text
                .lines()
                .next()
                .is_some_and(|first| first.contains("Made by `stream-agent targets --systemd-dropin`"))
    })
}

/// The target whose cell this one shares: the first one of the same line, because a line can be opened once.
fn sharing<'a>(target: &Target, targets: &'a [Target]) -> Option<&'a Target> {
    let device = |target: &Target| match &target.kind {
        Kind::Serial(serial) => Some(serial.path().to_owned()),
        _ => None,
    };
    let own = device(target)?;
    targets
        .iter()
        .find(|other| device(other).as_ref() == Some(&own))
        .filter(|first| first.name != target.name)
}

fn socket(target: &Target, sharing: Option<&Target>) -> String {
    let accept = if target.cell() == Cell::Shared { "no" } else { "yes" };
    let name = &target.name;
    format!(
        "{MADE_BY} for the target {name}.\n\
         \n\
         [Unit]\n\
         Description=Socket of the stream-agent target {name}\n\
         PartOf=stream-agent.service\n\
         StopWhenUnneeded=yes\n\
         StartLimitIntervalSec=0\n\
         Before=stream-agent.service\n\
         \n\
         [Socket]\n\
         ListenSequentialPacket=/run/stream-agent/targets/{name}\n\
         SocketUser=stream-opener\n\
         SocketMode=0600\n\
         RemoveOnStop=yes\n\
         Accept={accept}\n\
         {}TriggerLimitIntervalSec=0\n",
        match sharing {
            Some(first) => format!("Service={PREFIX}{}.service\n", first.name),
            None if accept == "yes" => "MaxConnections=4096\n".to_owned(),
            None => String::new(),
        },
    )
}

fn service(target: &Target, needs: &Needs) -> String {
    let name = &target.name;
    let mut text = format!(
        "{MADE_BY} for the target {name}: the unit of programs,\n\
         # and what this target needs. It is written again when targets change; a drop-in of yours stays.\n"
    );
    for line in CELL.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("Description=") {
            Some(_) => _ = writeln!(text, "Description=Opens the stream-agent target {name}"),
            // No two blank lines, where only comments were between them.
            None if line.is_empty() && text.ends_with("\n\n") => {}
            None => _ = writeln!(text, "{line}"),
        }
    }
    text.truncate(text.trim_end().len());
    let _ = writeln!(text, "\n\n# What {name} needs:");
    // Programs without a network have no use for the sockets there.
    let has_sockets =
        !matches!(target.kind, Kind::Exec(_)) || needs.settings.contains_key("PrivateNetwork=no");
    if has_sockets {
        text.push_str(
            "TemporaryFileSystem=\nTemporaryFileSystem=/dev/shm:mode=1777,size=16M\nReadOnlyPaths=/run\n",
        );
    }
    if target.cell() == Cell::Shared && !needs.settings.contains_key("DynamicUser=no") {
        // One process, whose user has the name of the unit.
        text.push_str("User=\n");
    }
    for line in needs.settings.keys() {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Replaces a file, so that it is never there in part.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn remove(path: &Path) -> Result<(), WriteError> {
    at(path, fs::remove_file(path))
}

fn at(path: &Path, done: io::Result<()>) -> Result<(), WriteError> {
    done.map_err(|error| WriteError { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SHM: &str = "TemporaryFileSystem=/dev/shm:mode=1777,size=16M";

    fn target(name: &str, text: &str) -> Target {
        Target::from_table(name, text.parse().unwrap()).unwrap()
    }

    fn lines<'a>(units: &'a Units, name: &str) -> Vec<&'a str> {
        let text = &units.files[name];
        text.split_once(" needs:\n").map_or(text.as_str(), |(_, end)| end).lines().collect()
    }

    #[test]
    fn what_needs_nothing_has_no_unit() {
        let units = Units::new(&[
            target("a", "kind = 'tcp'\naddress = '127.0.0.1:1'"),
            target("b", "kind = 'exec'\nargv = ['/bin/cat']"),
            target("c", "kind = 'file'\npath = '/etc/passwd'"),
        ]);
        assert!(units.files.is_empty() && units.remarks().is_empty(), "{units:?}");
    }

    #[test]
    fn each_target_with_needs_has_a_unit_with_these_and_no_others() {
        let units = Units::new(&[
            target("journal", "kind = 'journal'\nunits = ['*']"),
            target("net", "kind = 'exec'\nargv = ['/bin/cat']\nnetwork = true"),
            target("other", "kind = 'exec'\nargv = ['/bin/cat']\nuser = 'nobody'"),
            target("line", "kind = 'serial'\npath = '/dev/null'"),
        ]);
        assert_eq!(
            lines(&units, "stream-agent-open-journal@.service"),
            ["TemporaryFileSystem=", SHM, "ReadOnlyPaths=/run", "SupplementaryGroups=systemd-journal"]
        );
        let network = lines(&units, "stream-agent-open-net@.service");
        assert!(
            network.contains(&"PrivateNetwork=no") && network.contains(&"TemporaryFileSystem="),
            "{network:?}"
        );
        let other = lines(&units, "stream-agent-open-other@.service");
        assert_eq!(other, ["DynamicUser=no", "RemoveIPC=no", "User=nobody"]);
        let line = lines(&units, "stream-agent-open-line.service");
        assert!(line.contains(&"User=") && line.contains(&"DeviceAllow=/dev/null rw"), "{line:?}");
        assert!(units.files["stream-agent-open-line.socket"].contains("Accept=no"));
        assert!(units.files["stream-agent-open-net@.service"].contains("\nNoNewPrivileges=yes\n"));
    }

    #[test]
    fn writing_again_changes_nothing_and_removes_what_is_not_needed() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (
            target("a", "kind = 'journal'\nunits = ['*']"),
            target("b", "kind = 'serial'\npath = '/dev/null'"),
        );
        fs::create_dir(dir.path().join("stream-agent.service.d")).unwrap();
        let old = "# What this host's targets need beyond the shipped unit. Made by `stream-agent targets --systemd-dropin`:\n";
        fs::write(dir.path().join(OLD_DROP_IN), format!("{old}SupplementaryGroups=adm\n")).unwrap();
        fs::write(dir.path().join("stream-agent-open-mine.socket"), "[Socket]\n").unwrap();
        let both = Units::new(&[a.clone(), b]);
        assert_eq!(both.differences(dir.path()).len(), 5);
        assert_eq!(both.write(dir.path()).unwrap().len(), 5);
        assert!(both.differences(dir.path()).is_empty() && both.write(dir.path()).unwrap().is_empty());
        let link = dir.path().join(WANTED).join("stream-agent-open-b.socket");
        assert!(link.exists() && !dir.path().join(OLD_DROP_IN).exists());
        let mode = fs::metadata(dir.path().join("stream-agent-open-b.service")).unwrap().permissions().mode();
        assert_eq!(mode & 0o022, 0);
        let one = Units::new(&[a]);
        assert_eq!(one.differences(dir.path()).len(), 2);
        assert_eq!(one.write(dir.path()).unwrap().len(), 2);
        assert!(!link.is_symlink() && dir.path().join("stream-agent-open-mine.socket").exists());
    }

    #[test]
    fn targets_of_one_line_share_a_cell() {
        let text = "kind = 'serial'\npath = '/dev/null'";
        let units = Units::new(&[target("a", text), target("b", text)]);
        let names: Vec<&str> = units.names().collect();
        assert_eq!(
            names,
            ["stream-agent-open-a.service", "stream-agent-open-a.socket", "stream-agent-open-b.socket"]
        );
        assert!(
            units.files["stream-agent-open-b.socket"].contains("\nService=stream-agent-open-a.service\n")
        );
    }
}
