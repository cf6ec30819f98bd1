//! A container of Docker Engine or Podman, by the API that both have: its console, a program in it,
//! or what it wrote.

mod console;
mod ending;
mod engine;
mod found;
mod frames;
mod logs;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use glob::Pattern;
use serde::Deserialize;

use super::access::Need;
use super::config::{TargetConfigError, absolute, without_nul};
use super::exec::check_env;
use super::kind::{Open, Settings};
use super::lxc::argv_inside;
use super::names::Names;
use super::opened::{OpenError, Opened, Opening};
use super::params::{ParamError, Params};
use super::sandbox::Wants;
use super::unix::socket_path;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;
use engine::{Brand, Engine};
use found::Found;
use logs::Logs;
use run::Run;

/// The parameter that picks a container.
const PARAM: &str = "container";

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    engine: Brand,
    socket: Option<PathBuf>,
    containers: Option<Names>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    action: Action,
    tty: Option<bool>,
    argv: Option<Vec<String>>,
    user: Option<String>,
    cwd: Option<PathBuf>,
    env: Option<BTreeMap<String, String>>,
    lines: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    since: Option<Duration>,
    timestamps: Option<bool>,
    raw: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Attach,
    Exec,
    Logs,
}

impl Action {
    /// Keys that other actions have no use for.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Action::Attach => &["tty"],
            Action::Exec => &["tty", "argv", "user", "cwd", "env"],
            Action::Logs => &["lines", "since", "timestamps", "raw"],
        }
    }
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Container {
    engine: Engine,
    allowed: Allowed,
    what: What,
    /// Whether clients are told of a terminal.
    is_terminal: bool,
}

/// Which containers may be opened: those that have an allowed name and all of the labels.
#[derive(Clone, Debug, PartialEq)]
struct Allowed {
    names: Names,
    /// Names of labels, and what their values have to be.
    labels: BTreeMap<String, Pattern>,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// What its first process says and hears.
    Attach,
    Exec(Run),
    Logs(Logs),
}

impl Settings for Container {
    const NAME: &'static str = "container";
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Picked;

    fn check(raw: Raw) -> Result<Container, TargetConfigError> {
        refuse_useless(&raw)?;
        let socket = raw.socket.unwrap_or_else(|| raw.engine.socket());
        let engine = Engine { brand: raw.engine, socket: socket_path("socket", socket)? };
        let is_terminal = raw.action != Action::Logs && raw.tty.unwrap_or(true);
        let what = match raw.action {
            Action::Attach => What::Attach,
            Action::Exec => What::Exec(Run {
                argv: argv_inside(raw.argv.unwrap_or_default())?,
                tty: is_terminal,
                user: raw.user,
                cwd: raw.cwd.map(|path| absolute("cwd", path)).transpose()?,
                env: raw.env.unwrap_or_default(),
            }),
            Action::Logs => What::Logs(Logs {
                lines: raw.lines,
                since: raw.since,
                with_time: raw.timestamps.unwrap_or(false),
                is_raw: raw.raw.unwrap_or(false),
            }),
        };
        if let What::Exec(run) = &what {
            check_env(&run.env)?;
            if let Some(user) = &run.user {
                without_nul("user", user.as_bytes())?;
            }
        }
        let allowed = Allowed::check(raw.containers, raw.labels)?;
        Ok(Container { engine, allowed, what, is_terminal })
    }

    fn profile(&self) -> Profile {
        match self.what {
            What::Logs(_) => Profile::Bulk,
            _ => Self::PROFILE,
        }
    }

    fn modes(&self) -> &'static [Mode] {
        match self.what {
            What::Logs(_) => &[Mode::Ro],
            _ => &[Mode::Rw, Mode::Ro],
        }
    }

    fn params(&self) -> Vec<String> {
        self.allowed.names.wants(PARAM)
    }

    fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<Picked, ParamError> {
        let name = self.allowed.names.pick(PARAM, params)?;
        Ok(Picked { name, container: self.clone() })
    }

    fn wants(&self) -> Vec<Wants> {
        let mut wants = vec![Wants::Path(self.engine.socket.clone(), Need::Connect)];
        // The end of a program is seen to by its PID.
        if matches!(self.what, What::Exec(_)) {
            wants.push(Wants::OtherProcesses);
        }
        wants
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let api = self.engine.reach().await?;
        match self.allowed.names.only() {
            Some(name) => {
                let found = Found::look(&api, name).await?;
                self.allowed.labels_of(&found)?;
                Ok(format!("container {name} is {}", found.state()))
            }
            None => Ok(api.describe()),
        }
    }
}

/// Refuses what the owner wrote in vain, in the belief that it does something.
fn refuse_useless(raw: &Raw) -> Result<(), TargetConfigError> {
    let written = [
        ("tty", raw.tty.is_some()),
        ("argv", raw.argv.is_some()),
        ("user", raw.user.is_some()),
        ("cwd", raw.cwd.is_some()),
        ("env", raw.env.is_some()),
        ("lines", raw.lines.is_some()),
        ("since", raw.since.is_some()),
        ("timestamps", raw.timestamps.is_some()),
        ("raw", raw.raw.is_some()),
    ];
    let useful = raw.action.keys();
    match written.iter().find(|(key, is_written)| *is_written && !useful.contains(key)) {
        Some((key, _)) => Err(TargetConfigError::at(
            *key,
            format!("does nothing with this action, which has {}", useful.join(", ")),
        )),
        None => Ok(()),
    }
}

impl Allowed {
    fn check(names: Option<Names>, labels: BTreeMap<String, String>) -> Result<Allowed, TargetConfigError> {
        let names = match names {
            Some(names) => names,
            None if labels.is_empty() => {
                return Err(TargetConfigError::at(
                    "containers",
                    "is missing, and so is labels: name the containers that may be opened, or their labels",
                ));
            }
            None => Names::all(),
        };
        let labels = labels.into_iter().map(|(label, glob)| match Pattern::new(&glob) {
            Ok(pattern) => Ok((label, pattern)),
            Err(error) => {
                Err(TargetConfigError::at(format!("labels.{label}"), format!("\"{glob}\": {}", error.msg)))
            }
        });
        Ok(Allowed { names, labels: labels.collect::<Result<_, _>>()? })
    }

    fn labels_of(&self, found: &Found) -> Result<(), OpenError> {
        let lacking = self
            .labels
            .iter()
            .find(|(label, pattern)| !found.labels.get(*label).is_some_and(|value| pattern.matches(value)));
        match lacking {
            Some((label, pattern)) => Err(OpenError::not_allowed(format!(
                "container {} does not have the label {label}={pattern} that the host's owner asks for",
                found.name
            ))),
            None => Ok(()),
        }
    }
}

/// One of the containers, by its name.
#[derive(Clone, Debug)]
pub(super) struct Picked {
    name: String,
    container: Container,
}

impl Open for Picked {
    async fn open(&self, opening: Opening) -> Result<Opened, OpenError> {
        let Container { engine, allowed, what, .. } = &self.container;
        let api = engine.reach().await?;
        let found = Found::look(&api, &self.name).await?;
        allowed.labels_of(&found)?;
        // From here on it is called by its ID: a name can come to belong to another one.
        match what {
            What::Attach => console::attach(api, found, opening).await,
            What::Exec(run) => run.start(api, found, opening).await,
            What::Logs(logs) => logs.follow(api, found).await,
        }
    }
}

#[cfg(test)]
mod tests;
