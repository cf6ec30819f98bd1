//! What an engine reports about a container.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;

use super::engine::{Api, AskError};
use crate::support::opened::OpenError;
use protocol::failure::Failure;

/// A container with the requested name.
pub(super) struct ContainerInfo {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) has_tty: bool,
    /// Whether its first process reads input (`-i`).
    pub(super) has_stdin: bool,
    state: State,
}

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
    /// When it was started, which differs for each start.
    #[serde(default)]
    started_at: String,
}

/// The parts of the engine's answer that are used.
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

/// Pause between two questions to an engine that does not know yet of a process's end.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// How often to ask: for about a second in all.
pub(super) const TRIES: u32 = 50;

/// How long an engine may take between the stop and the start of a restart.
const RESTART: Duration = Duration::from_secs(1);

/// The state of a container whose output has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ExitState {
    /// It ended with this exit status.
    Ended(i32),
    /// It was restarted, or is about to be.
    Restarted,
    /// It still runs, so the engine closed the output.
    StillRuns,
    Removed,
}

impl ExitState {
    /// The exit status, or the failure that clients get if there is none.
    pub(super) fn status(self) -> io::Result<i32> {
        let failure = match self {
            ExitState::Ended(code) => return Ok(code),
            ExitState::Restarted => Failure::Restarted,
            ExitState::Removed => Failure::Removed,
            ExitState::StillRuns => Failure::EngineLost,
        };
        Err(failure.error(failure.words()))
    }
}

impl ContainerInfo {
    pub(super) async fn look(api: &Api, name: &str) -> Result<ContainerInfo, OpenError> {
        let brand = api.engine.brand;
        let unknown = || {
            OpenError::failed(format!(
                "{brand} has no container {name}: `{} ps --all` names those that there are",
                brand.command()
            ))
        };
        let info = match inspect(api, name).await {
            Ok(info) => info,
            Err(AskError::Refused(StatusCode::NOT_FOUND, _)) => return Err(unknown()),
            Err(error) => return Err(api.engine.explained(error)),
        };
        // Engines also accept an ID, or its beginning, as a name.
        match info.name == name {
            true => Ok(info),
            false => Err(unknown()),
        }
    }

    /// Refuses a container that does not run.
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

    /// Finds out why the output has ended.
    pub(super) async fn exit_state(&self, api: &Api) -> io::Result<ExitState> {
        for more in (0..TRIES).rev() {
            match inspect(api, &self.id).await {
                Ok(now) => match change(&self.state, &now.state) {
                    Some(ended @ ExitState::Ended(_)) => return self.stays(ended, api).await,
                    Some(state) => return Ok(state),
                    None => tokio::time::sleep(PAUSE).await,
                },
                Err(AskError::Refused(StatusCode::NOT_FOUND, _)) => return Ok(ExitState::Removed),
                // Podman answers this while it removes the container.
                Err(AskError::Refused(StatusCode::INTERNAL_SERVER_ERROR, _)) if more > 0 => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(Failure::EngineLost.error(api.engine.explained(error))),
            }
        }
        Ok(ExitState::StillRuns)
    }
}

impl ContainerInfo {
    /// Waits whether an ended container starts again: a restart is a stop and a start, and between the two the
    /// container looks ended.
    async fn stays(&self, ended: ExitState, api: &Api) -> io::Result<ExitState> {
        tokio::time::sleep(RESTART).await;
        Ok(match inspect(api, &self.id).await {
            Ok(now) => change(&self.state, &now.state).unwrap_or(ended),
            // It was removed after its end.
            Err(_) => ended,
        })
    }
}

/// What has happened since `then`; `None` while the container just runs on.
fn change(then: &State, now: &State) -> Option<ExitState> {
    match now {
        State { restarting: true, .. } => Some(ExitState::Restarted),
        State { started_at, .. } if *started_at != then.started_at => Some(ExitState::Restarted),
        State { running: true, .. } => None,
        // Podman waits for the end: there is no exit status yet, and what stands there is 0.
        State { status, .. } if status == "stopping" => None,
        State { exit_code, .. } => Some(ExitState::Ended(*exit_code)),
    }
}

async fn inspect(api: &Api, which: &str) -> Result<ContainerInfo, AskError> {
    let value = api.get(&format!("/containers/{which}/json")).await?;
    let info: Inspected =
        serde_json::from_value(value).map_err(|error| AskError::Strange(error.to_string()))?;
    Ok(ContainerInfo {
        name: info.name.trim_start_matches('/').to_owned(),
        id: info.id,
        labels: info.config.labels.unwrap_or_default(),
        has_tty: info.config.tty,
        has_stdin: info.config.open_stdin,
        state: info.state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The states that Podman 4.3 reported of one container, which ignored SIGTERM, during `podman rm --force`.
    #[test]
    fn a_container_that_is_being_stopped_has_no_exit_status() {
        let state = |status: &str, running: bool, exit_code: i32| -> State {
            let started = "2026-11-30T01:20:08.655244641Z";
            serde_json::from_value(serde_json::json!({
                "Status": status, "Running": running, "ExitCode": exit_code, "Dead": false,
                "Restarting": false, "StartedAt": started,
            }))
            .unwrap()
        };
        let running = state("running", true, 0);
        assert_eq!(change(&running, &state("stopping", false, 0)), None);
        assert_eq!(change(&running, &state("stopped", false, 137)), Some(ExitState::Ended(137)));
    }
}
