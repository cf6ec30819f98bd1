//! The processes that open targets for a split agent: `open`, one for each session, and `cell`.

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

/// How long programs of an ended session have before this process ends, and the service manager kills what is left.
const LAST_PROGRAMS: Duration = Duration::from_secs(4);

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
        let served = opener::serve(socket, || load_opener(config), environment).await;
        let _ = tokio::time::timeout(LAST_PROGRAMS, shared.all_gone()).await;
        Ok(served.context("the network half")?)
    })
}

/// Serves an opener's connection, or all that come to a listening socket.
pub(crate) fn cell() -> Result<(), ExitError> {
    let socket = connection()?;
    runtime()?.block_on(async {
        let lifecycle = Lifecycle::start().context("take over signals")?;
        let shared = Shared::passing(lifecycle.children().clone());
        let stopping = lifecycle.stopping();
        let served = tokio::select! {
            served = opener::serve_cell(socket, shared.clone()) => served,
            () = stopping.cancelled() => Ok(()),
        };
        let _ = tokio::time::timeout(LAST_PROGRAMS, shared.all_gone()).await;
        Ok(served.context("the opener")?)
    })
}

/// The socket that the service manager passes.
fn connection() -> Result<OwnedFd, ExitError> {
    let mut passed = passed::sockets().context("sockets of the service manager")?;
    match (passed.pop(), passed.is_empty()) {
        (Some(only), true) => Ok(only.socket),
        _ => Err(anyhow!("systemd starts this command, and passes one socket: it is not for people"))
            .or_exit(Exit::Usage),
    }
}

/// One thread: a session is little work, and hosts have thousands.
fn runtime() -> Result<Runtime, ExitError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    Ok(runtime.enable_all().build().context("start the runtime")?)
}
