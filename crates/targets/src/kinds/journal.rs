//! systemd's journal, or the entries of some units. Read by journalctl(1), which knows the journal's files and is
//! always installed; run with options and never through a shell.

mod discover;
mod entry;
mod files;
mod form;
mod globs;
mod journalctl;
mod log;
mod units;
mod view;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::kind::Settings;
use crate::support::access::Need;
use crate::support::candidate::{Findings, search};
use crate::support::cell::Cell;
use crate::support::names::{Names, is_word};
use crate::support::opened::{OpenError, blocking};
use crate::support::params::{Param, ParamError, Params};
use crate::support::value::{TargetConfigError, absolute};
use crate::support::wants::Wants;
use files::Files;
use form::Form;
use log::{UnitLog, Units};
use protocol::mode::Mode;
use protocol::profile::Profile;
use units::Wanted;
use view::{Priority, View};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
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
    user_units: bool,
    #[serde(default)]
    raw: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Journal {
    units: Names,
    view: View,
    lines: Option<u32>,
    /// The age of the oldest entry that is shown.
    since: Option<Duration>,
    /// Whether units of users' service managers are included.
    user_units: bool,
    is_raw: bool,
}

impl Settings for Journal {
    const NAME: &'static str = "journal";
    /// Each stream is a process.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Bulk;
    type Raw = Raw;
    type Bound = UnitLog;

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
        for glob in raw.units.globs() {
            let wrong = match glob {
                dash if dash.starts_with('-') => "no unit's name begins with a dash".to_owned(),
                path if path.contains('/') => {
                    format!("\"{path}\" is no unit's name: that of /mnt/data is mnt-data.mount")
                }
                caret if caret.contains("[^") => format!("\"{caret}\": write [!…] for any other character"),
                _ => continue,
            };
            return Err(TargetConfigError::at("units", wrong));
        }
        Ok(Journal {
            units: raw.units,
            view: View {
                priority: raw.priority,
                form: raw.output,
                files: Files {
                    directory: raw.directory.map(|path| absolute("directory", path)).transpose()?,
                    namespace: raw.namespace,
                },
            },
            lines: raw.lines,
            since: raw.since,
            user_units: raw.user_units,
            is_raw: raw.raw,
        })
    }

    fn view(&self) -> Option<protocol::view::View> {
        Some(protocol::view::View::Log)
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Ro]
    }

    /// Without the parameter, all allowed units are shown.
    fn params(&self) -> Vec<Param> {
        self.units.wants("unit")
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<UnitLog, ParamError> {
        let globs = || self.units.globs();
        let units = match params.has("unit") {
            true => Units::Named(vec![self.units.pick_as("unit", params, is_name)?]),
            // `--unit='*'` would omit the kernel, and entries that belong to no unit.
            false if self.units.are_all() => Units::All,
            false if self.units.are_plain() => Units::Named(globs().map(str::to_owned).collect()),
            false => Units::Like(Wanted::new(globs(), self.user_units)),
        };
        Ok(UnitLog {
            units,
            view: self.view.clone(),
            lines: self.lines,
            since: self.since,
            user_units: self.user_units,
            is_raw: self.is_raw,
        })
    }

    fn cell(&self) -> Cell {
        // journalctl is a program, and needs a group or read access to a directory.
        Cell::Own
    }

    fn wants(&self) -> Vec<Wants> {
        vec![match &self.view.files.directory {
            Some(directory) => Wants::Path(directory.clone(), Need::Read),
            None => Wants::Group("systemd-journal"),
        }]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        journalctl::probe().await?;
        let files = self.view.files.clone();
        blocking(move || files.look()).await
    }

    async fn discover() -> Findings {
        search(discover::discover).await
    }
}

/// Unit names contain bytes as `\x2d`, and journalctl(1) does not treat a backslash as special (fnmatch(3),
/// FNM_NOESCAPE).
fn is_name(name: &str) -> Result<(), &'static str> {
    match is_word(name, b".@:+-\\") {
        true => Ok(()),
        false => {
            Err("is not a unit: letters, digits and _ . @ : + - \\ are, the first a letter, a digit or _")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::files::AllBoots;
    use super::*;
    use crate::Target;

    fn journal(text: &str) -> Journal {
        Journal::check(toml::from_str(text).unwrap()).unwrap()
    }

    fn arguments(text: &str, unit: Option<&str>) -> Vec<String> {
        let given: BTreeMap<_, _> =
            unit.map(|unit| ("unit".to_owned(), unit.to_owned())).into_iter().collect();
        let bound = journal(text).bind(&mut Params::new(&given)).unwrap();
        let boots = AllBoots { options: vec!["--boot=all".into()], machine: Some("_MACHINE_ID=m".into()) };
        bound.arguments(bound.since.map(|_| 1700), bound.lines, boots).split_off(1)
    }

    #[test]
    fn the_owners_settings_become_options() {
        let boots = ["--boot=all", "_MACHINE_ID=m"];
        assert_eq!(
            arguments("units = ['ssh.service', 'db']", None),
            ["--output=short", "--lines=10", boots[0], "--unit=ssh.service", "--unit=db", boots[1]]
        );
        assert_eq!(
            arguments("units = ['web@*']", Some("web@1")),
            ["--output=short", "--lines=10", boots[0], "--unit=web@1", boots[1]]
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
                "--merge",
                "--namespace=n",
                boots[0],
                boots[1]
            ]
        );
        assert_eq!(arguments("units = ['*']\nsince = '1h'\nlines = 0", None)[1], "--lines=0");
        let users = arguments("units = ['a']\nuser_units = true", None).join(" ");
        assert!(
            users.contains(" + _SYSTEMD_USER_UNIT=a.service _MACHINE_ID=m + USER_UNIT=a.service"),
            "{users}"
        );
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
            ("units = ['/home']", "units"),
            ("units = ['[^a]*']", "units"),
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
