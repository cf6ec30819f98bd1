//! A program that runs in a container for one stream.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::checked::CheckedOutput;
use super::console::{Accepts, DETACH_KEYS, resizing, split};
use super::engine::{Api, AskError};
use super::info::{ContainerInfo, PAUSE, TRIES};
use crate::support::opened::{OpenError, Opened, Opening, Process, Window, cannot};
use net::backoff::Backoff;
use protocol::failure::Failure;
use protocol::mode::Mode;

/// The longest pause between two checks of a program that goes on after the end of its output.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a program may take to end after its terminal is gone.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// The program and its arguments; never empty.
    pub(super) argv: Vec<String>,
    pub(super) tty: bool,
    pub(super) user: Option<String>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
}

impl Run {
    pub(super) async fn start(
        &self,
        api: Api,
        info: ContainerInfo,
        opening: Opening,
    ) -> Result<Opened, OpenError> {
        info.must_run(&api)?;
        let is_rw = opening.mode == Mode::Rw;
        let failed = |error| api.engine.explained(error);
        let (mut order, mut start) = (self.order(is_rw), json!({ "Detach": false, "Tty": self.tty }));
        if let Some(Window { cols, rows }) = opening.window.filter(|_| self.tty) {
            // Docker Engine 23.0 (API 1.42) and newer give the terminal its size at once; others ignore this.
            let size = json!([rows, cols]);
            (order["ConsoleSize"], start["ConsoleSize"]) = (size.clone(), size);
        }
        let id = create(&api, &info.id, &order).await.map_err(failed)?;
        let upgraded = api.upgrade(&format!("/exec/{id}/start"), Some(&start)).await;
        let (stream, early) = upgraded.map_err(failed)?;
        let accepts = if is_rw { Accepts::BytesAndEnd } else { Accepts::Nothing };
        let (output, input) = split(stream, early, accepts, self.tty);
        let started = ExecProcess { api: api.clone(), container: info.id, id: id.clone() };
        let (send, status) = watch::channel(None);
        let dropped = CancellationToken::new();
        opening.shared.spawn_cleanup(started.clone().end_after(dropped.clone(), status.clone(), info.name));
        let asked = match self.tty {
            true => resizing(api, format!("/exec/{id}/resize"), opening.window),
            false => Box::new(cannot),
        };
        let why = Box::pin(async move {
            send.send_replace(Some(started.status().await?));
            Ok(())
        });
        Ok(Opened {
            output: Box::new(CheckedOutput::new(output, why)),
            input,
            asked,
            process: Some(Process { status, _ends_when_dropped: Some(dropped.drop_guard()) }),
            half_close: false,
            socket: None,
        })
    }

    fn order(&self, is_rw: bool) -> Value {
        let mut env = self.env.clone();
        if self.tty {
            env.entry("TERM".to_owned()).or_insert_with(|| "xterm-256color".to_owned());
        }
        let env: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut order = json!({
            "AttachStdin": is_rw,
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": self.tty,
            "Cmd": self.argv,
            "Env": env,
            "DetachKeys": DETACH_KEYS,
        });
        if let Some(user) = &self.user {
            order["User"] = json!(user);
        }
        if let Some(cwd) = &self.cwd {
            order["WorkingDir"] = json!(cwd.to_string_lossy());
        }
        order
    }
}

async fn create(api: &Api, container: &str, order: &Value) -> Result<String, AskError> {
    let created = api.post(&format!("/containers/{container}/exec"), Some(order)).await?;
    let id = created["Id"].as_str().ok_or_else(|| AskError::Strange("a program without an ID".into()))?;
    Ok(id.to_owned())
}

/// A program that was started in a container.
#[derive(Clone)]
struct ExecProcess {
    api: Api,
    container: String,
    id: String,
}

impl ExecProcess {
    /// `None` if the engine does not know it any more.
    async fn look(&self) -> Result<Option<Value>, AskError> {
        match self.api.get(&format!("/exec/{}/json", self.id)).await {
            Ok(now) => Ok(Some(now)),
            Err(AskError::Refused(StatusCode::NOT_FOUND, _)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the engine knows the exit status: the program may go on after the end of its output.
    async fn status(&self) -> io::Result<i32> {
        let mut pauses = Backoff::new(PAUSE, LONGEST_PAUSE);
        loop {
            let path = format!("/exec/{}/json", self.id);
            let now = self.api.get(&path).await;
            let now = now.map_err(|error| Failure::EngineLost.error(self.api.engine.explained(error)))?;
            if now["Running"] == false {
                let code = now["ExitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
                return code.ok_or_else(|| Failure::EngineLost.error("the engine gives no exit status"));
            }
            tokio::time::sleep(pauses.wait()).await;
        }
    }

    /// Ends the program when its stream is gone, because engines let it run.
    async fn end_after(self, dropped: CancellationToken, status: watch::Receiver<Option<i32>>, name: String) {
        dropped.cancelled().await;
        if status.borrow().is_some() {
            return;
        }
        for signal in ["HUP", "KILL"] {
            let Some(pid) = self.pid().await else { return };
            let sent = match pid {
                Ok(pid) => self.kill(signal, pid).await,
                Err(why) => Err(why),
            };
            if let Err(why) = sent {
                return warn!("a program goes on in container {name}: {why}");
            }
            let _ = tokio::time::timeout(GRACE, self.ended()).await;
        }
    }

    async fn ended(&self) {
        // An engine that does not answer may still run it.
        while self.look().await.map_or(true, |now| now.is_some_and(|now| now["Running"] == true)) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The program's PID in the container's namespace; none if it has ended.
    async fn pid(&self) -> Option<Result<u32, String>> {
        let mut refused = None;
        for _ in 0..TRIES {
            match self.look().await {
                Ok(None) => return None,
                Ok(Some(now)) => match (now["Pid"].as_u64(), now["Running"] == true) {
                    (Some(pid @ 1..), true) => return Some(pid_inside(pid)),
                    // It is being started.
                    (_, true) => {}
                    (_, false) if now["ExitCode"].is_null() => {}
                    _ => return None,
                },
                Err(error) => refused = Some(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
        refused.map(|error| Err(self.api.engine.explained(error).message))
    }

    /// Runs the container's own kill(1), because the engines' API cannot send a signal to a program.
    async fn kill(&self, signal: &str, pid: u32) -> Result<(), String> {
        let order = json!({ "Cmd": ["kill", "-s", signal, "--", format!("-{pid}")], "User": "0" });
        let said = |error| self.api.engine.explained(error).message;
        let id = create(&self.api, &self.container, &order).await.map_err(said)?;
        let start = json!({ "Detach": true });
        self.api.post(&format!("/exec/{id}/start"), Some(&start)).await.map_err(said)?;
        Ok(())
    }
}

fn pid_inside(pid: u64) -> Result<u32, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| {
        format!("its PID is not to be seen here ({error}): the unit must not have ProtectProc= for this")
    })?;
    innermost_pid(&status).ok_or_else(|| "the kernel does not report PIDs of namespaces".to_owned())
}

/// The PID in the innermost namespace (proc_pid_status(5)).
fn innermost_pid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_inside_is_the_last_one() {
        assert_eq!(innermost_pid("Name:\tsh\nNSpid:\t17197\t7\nNSpgid:\t17197\t7\n"), Some(7));
        assert_eq!(innermost_pid("NSpid:\t12\n"), Some(12));
        assert_eq!(innermost_pid("Name:\tsh\n"), None);
    }
}
