//! A container as the engine describes it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;

use super::super::opened::OpenError;
use super::engine::{Api, AskError};
use crate::protocol::failure::Failure;

/// A container that has the name that was asked for.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) has_tty: bool,
    /// Whether its first process listens.
    pub(super) has_stdin: bool,
    state: State,
}

/// What it is doing.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    status: String,
    #[serde(default)]
    running: bool,
    #[serde(default)]
    restarting: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    exit_code: i32,
    /// Changes with every start.
    #[serde(default)]
    started_at: String,
}

/// The engine's words for all of it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    state: State,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    tty: bool,
    #[serde(default)]
    open_stdin: bool,
    labels: Option<BTreeMap<String, String>>,
}

/// Between the end of what a process says and the engine's knowing of its end.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// Times to ask for it: about a second.
pub(super) const TRIES: u32 = 50;

/// How long an engine may take between the two halves of a restart.
const RESTART: Duration = Duration::from_secs(1);

/// How it stands with a container whose output has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// With an exit status.
    Ended(i32),
    /// It runs anew, or will.
    Restarted,
    /// The engine has no reason for the end.
    StillRuns,
    Removed,
}

impl Over {
    /// The exit status of an end that has one; else the reason.
    pub(super) fn status(self) -> io::Result<i32> {
        let failure = match self {
            Over::Ended(code) => return Ok(code),
            Over::Restarted => Failure::Restarted,
            Over::Removed => Failure::Removed,
            Over::StillRuns => Failure::EngineLost,
        };
        Err(failure.error(failure.words()))
    }
}

impl Found {
    pub(super) async fn look(api: &Api, name: &str) -> Result<Found, OpenError> {
        let brand = api.engine.brand;
        let unknown = || {
            OpenError::failed(format!(
                "{brand} has no container {name}: `{} ps --all` names those that there are",
                brand.command()
            ))
        };
        let found = match inspect(api, name).await {
            Ok(found) => found,
            Err(AskError::Refused(StatusCode::NOT_FOUND, _)) => return Err(unknown()),
            Err(error) => return Err(api.engine.explained(error)),
        };
        // An engine takes an ID, or the beginning of one, where it takes a name.
        match found.name == name {
            true => Ok(found),
            false => Err(unknown()),
        }
    }

    /// That the container does something that can be looked at.
    pub(super) fn must_run(&self, api: &Api) -> Result<(), OpenError> {
        let (name, command) = (&self.name, api.engine.brand.command());
        match &self.state {
            State { paused: true, .. } => Err(OpenError::failed(format!(
                "container {name} is paused: let it go on with `{command} unpause {name}`"
            ))),
            State { running: true, restarting: false, .. } => Ok(()),
            _ => Err(OpenError::failed(format!(
                "container {name} is {}: start it with `{command} start {name}`",
                self.state()
            ))),
        }
    }

    pub(super) fn state(&self) -> &str {
        if self.state.status.is_empty() { "not running" } else { &self.state.status }
    }

    /// What became of it, now that its output has ended.
    pub(super) async fn over(&self, api: &Api) -> io::Result<Over> {
        for _ in 0..TRIES {
            match inspect(api, &self.id).await {
                Ok(now) => match over(&self.state, &now.state) {
                    Some(ended @ Over::Ended(_)) => return self.stays(ended, api).await,
                    Some(over) => return Ok(over),
                    None => tokio::time::sleep(PAUSE).await,
                },
                Err(AskError::Refused(StatusCode::NOT_FOUND, _)) => return Ok(Over::Removed),
                Err(error) => return Err(Failure::EngineLost.error(api.engine.explained(error))),
            }
        }
        Ok(Over::StillRuns)
    }
}

impl Found {
    /// A restart is a stop and a start: between the two the container looks as if it had ended for good.
    async fn stays(&self, ended: Over, api: &Api) -> io::Result<Over> {
        tokio::time::sleep(RESTART).await;
        Ok(match inspect(api, &self.id).await {
            Ok(now) => over(&self.state, &now.state).unwrap_or(ended),
            // It had ended before that.
            Err(_) => ended,
        })
    }
}

/// `None` as long as the engine knows of no end.
fn over(then: &State, now: &State) -> Option<Over> {
    match now {
        State { restarting: true, .. } => Some(Over::Restarted),
        State { started_at, .. } if *started_at != then.started_at => Some(Over::Restarted),
        State { running: true, .. } => None,
        State { exit_code, .. } => Some(Over::Ended(*exit_code)),
    }
}

async fn inspect(api: &Api, which: &str) -> Result<Found, AskError> {
    let value = api.get(&format!("/containers/{which}/json")).await?;
    let found: Inspected =
        serde_json::from_value(value).map_err(|error| AskError::Strange(error.to_string()))?;
    Ok(Found {
        name: found.name.trim_start_matches('/').to_owned(),
        id: found.id,
        labels: found.config.labels.unwrap_or_default(),
        has_tty: found.config.tty,
        has_stdin: found.config.open_stdin,
        state: found.state,
    })
}
