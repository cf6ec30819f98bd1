//! The processes that open targets for a split agent: `open`, one for each session, and `cell`.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use agent::config::load_opener;
use anyhow::{Context, anyhow};
use opener::Environment;
use service::exit::{Exit, ExitError, OrExit};
use service::lifecycle::Lifecycle;
use service::passed;
use targets::Shared;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How long programs of an ended session have before this process ends, and the service manager kills what is left.
/// Programs in containers end through their engine, which takes seconds on a busy host, and twice: SIGHUP, then SIGKILL.
const LAST_PROGRAMS: Duration = Duration::from_secs(10);

/// Where packaging/agent/snapshot copies the configuration to.
const SNAPSHOT: &str = "/run/stream-opener/config";

/// How long an idle thread stays.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86400);

/// Serves the network half's connection.
pub(crate) fn open(config: &Path, cells: &Path, seen: &Path) -> Result<(), ExitError> {
    let socket = connection()?;
    runtime()?.block_on(async {
        let lifecycle = Lifecycle::start().context("take over signals")?;
        let shared = Shared::passing(lifecycle.children().clone());
        let environment = Environment {
            runtime: cells.to_owned(),
            seen: seen.to_owned(),
            shared: shared.clone(),
            reloads: lifecycle.reloads(),
            stopping: lifecycle.stopping(),
        };
        let load = || load_opener(config).map_err(|error| original(config, &error.to_string()));
        let served = opener::serve(socket, load, environment).await;
        let _ = tokio::time::timeout(LAST_PROGRAMS, shared.all_gone()).await;
        match served {
            // It has given up: as at an end of file.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Ok(())
            }
            served => Ok(served.context("the network half")?),
        }
    })
}

/// A text about the copy of the configuration that openers read, with the names of the files that their owner knows.
fn original(config: &Path, text: &str) -> String {
    match config.strip_prefix(SNAPSHOT).is_ok() {
        true => text.replace(SNAPSHOT, "/etc/stream-agent"),
        false => text.to_owned(),
    }
}

/// Serves an opener's connection, or all that come to listening sockets.
pub(crate) fn cell() -> Result<(), ExitError> {
    let sockets = passed()?;
    runtime()?.block_on(async {
        // While it may still start threads: a program can use up the tasks of its cell, and then tokio needs one that is
        // there.
        tokio::task::spawn_blocking(|| ()).await.context("start a thread")?;
        let lifecycle = Lifecycle::start().context("take over signals")?;
        let shared = Shared::passing(lifecycle.children().clone());
        let stopping = lifecycle.stopping();
        let served = tokio::select! {
            served = serve_all(sockets, &shared) => served,
            () = stopping.cancelled() => Ok(()),
        };
        let _ = tokio::time::timeout(LAST_PROGRAMS, shared.all_gone()).await;
        Ok(served.context("the opener")?)
    })
}

/// Targets that share what they have open, such as a serial line, have a listening socket each.
async fn serve_all(sockets: Vec<OwnedFd>, shared: &Shared) -> std::io::Result<()> {
    let mut serving: JoinSet<_> =
        sockets.into_iter().map(|socket| opener::serve_cell(socket, shared.clone())).collect();
    while let Some(served) = serving.join_next().await {
        served??;
    }
    Ok(())
}

/// The connection that the service manager passes.
fn connection() -> Result<OwnedFd, ExitError> {
    let mut sockets = passed()?;
    match (sockets.pop(), sockets.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => not_for_people(),
    }
}

/// The sockets that the service manager passes.
fn passed() -> Result<Vec<OwnedFd>, ExitError> {
    let passed = passed::sockets().context("sockets of the service manager")?;
    match passed.is_empty() {
        true => not_for_people(),
        false => Ok(passed.into_iter().map(|passed| passed.socket).collect()),
    }
}

fn not_for_people<T>() -> Result<T, ExitError> {
    Err(anyhow!("systemd starts this command, and passes a connection: it is not for people"))
        .or_exit(Exit::Usage)
}

/// One thread: a session is little work, and hosts have thousands.
fn runtime() -> Result<Runtime, ExitError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.thread_keep_alive(FOREVER);
    Ok(runtime.enable_all().build().context("start the runtime")?)
}
