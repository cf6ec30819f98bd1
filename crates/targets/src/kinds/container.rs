//! A container of Docker Engine or Podman, through the API that both have: its console, a program in it, or its log.

mod allowed;
mod checked;
mod console;
mod discover;
mod engine;
mod frames;
mod info;
mod logs;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::kind::{Open, Settings};
use crate::support::access::Need;
use crate::support::candidate::Findings;
use crate::support::cell::Cell;
use crate::support::inside::argv_inside;
use crate::support::inside::check_env;
use crate::support::names::Names;
use crate::support::opened::{OpenError, Opened, Opening};
use crate::support::params::{Param, ParamError, Params};
use crate::support::socket::socket_path;
use crate::support::value::{TargetConfigError, absolute, without_nul};
use crate::support::wants::Wants;
use allowed::Allowed;
use engine::{Brand, Engine};
use info::ContainerInfo;
use logs::Logs;
use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;
use run::Run;

/// The parameter that picks a container.
const PARAM: &str = "container";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
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
    /// The keys that only some actions use, for this one.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Action::Attach => &["tty"],
            Action::Exec => &["tty", "argv", "user", "cwd", "env"],
            Action::Logs => &["lines", "since", "timestamps", "raw"],
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Container {
    engine: Engine,
    allowed: Allowed,
    what: What,
    /// Whether clients should treat the target as a terminal.
    is_terminal: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    /// The input and output of its first process.
    Attach,
    Exec(Run),
    Logs(Logs),
}

impl Settings for Container {
    const NAME: &'static str = "container";
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = PickedContainer;

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

    fn view(&self) -> Option<View> {
        match self.what {
            What::Logs(_) => Some(View::Log),
            _ => self.is_terminal.then_some(View::Terminal),
        }
    }

    fn modes(&self) -> &'static [Mode] {
        match self.what {
            What::Logs(_) => &[Mode::Ro],
            _ => &[Mode::Rw, Mode::Ro],
        }
    }

    fn params(&self) -> Vec<Param> {
        self.allowed.names.wants(PARAM)
    }

    fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<PickedContainer, ParamError> {
        let name = self.allowed.names.pick(PARAM, params)?;
        Ok(PickedContainer { name, container: self.clone() })
    }

    fn cell(&self) -> Cell {
        // The engine's socket belongs to a group that is equivalent to root.
        Cell::Own
    }

    fn wants(&self) -> Vec<Wants> {
        let mut wants = vec![Wants::Path(self.engine.socket.clone(), Need::Connect)];
        // A program is ended by its PID.
        if matches!(self.what, What::Exec(_)) {
            wants.push(Wants::OtherProcesses);
        }
        wants
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let api = self.engine.reach().await?;
        match self.allowed.names.only() {
            Some(name) => {
                let info = ContainerInfo::look(&api, name).await?;
                self.allowed.labels_of(&info)?;
                Ok(format!("container {name} is {}", info.state()))
            }
            None => Ok(api.describe()),
        }
    }

    async fn discover() -> Findings {
        discover::discover().await
    }
}

/// Refuses keys that the action does not use, because the owner believes that they have an effect.
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

/// One container, by its name.
#[derive(Clone, Debug)]
pub(crate) struct PickedContainer {
    name: String,
    container: Container,
}

impl Open for PickedContainer {
    async fn open(&self, opening: Opening) -> Result<Opened, OpenError> {
        let Container { engine, allowed, what, .. } = &self.container;
        let api = engine.reach().await?;
        let info = ContainerInfo::look(&api, &self.name).await?;
        allowed.labels_of(&info)?;
        // Only its ID is used from here on, because its name may pass to another container.
        match what {
            What::Attach => console::attach(api, info, opening).await,
            What::Exec(run) => run.start(api, info, opening).await,
            What::Logs(logs) => logs.follow(api, info).await,
        }
    }
}

#[cfg(test)]
mod tests;
