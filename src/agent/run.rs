//! The agent's life: connect, serve, reload, drain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::unistd::Uid;
use tracing::{error, info, warn};

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::daemon::lifecycle::{Drained, Lifecycle};
use crate::daemon::{memory, notify};

use super::Agent;
use super::bus::Bus;
use super::config::{Auth, Settings, load};
use super::parked::shutting_down;
use super::status::Status;
use super::target;

/// How often the number of streams in the status line is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// How long farewells, the ends of programs, and the last records may each take after the drain.
const FAREWELLS: Duration = Duration::from_secs(5);

/// How long the service manager waits for commands to reach us. NATS may be away for long, and neither the boot of a
/// host nor an upgrade may hang on it; the status line says what is missing.
const START: Duration = Duration::from_secs(20);

/// Runs an agent until a signal ends it.
///
/// # Errors
/// What keeps it from starting; later troubles are logged and mended.
pub async fn run(file: &Path, settings: Settings) -> Result<(), ExitError> {
    let lifecycle = Lifecycle::start().context("take over signals")?;
    announce(&settings);
    let drain = settings.drain_timeout;
    let status = Status::default();
    let (agent, records) =
        Agent::new(settings, lifecycle.stopping(), lifecycle.tasks().clone()).or_exit(Exit::Config)?;
    let bus = Bus::connect(&agent, status.clone()).await.or_exit(Exit::Config)?;
    let _watchdog = {
        let (heard, status) = (bus.heard(), status.clone());
        // That the runtime turns is shown by being asked.
        let health = move |_| std::future::ready(heard.check());
        notify::Watchdog::start(health, move |trouble| status.unhealthy(trouble))
    };
    let ready = {
        let status = status.clone();
        move || status.ready()
    };
    let starting = tokio::spawn({
        let status = status.clone();
        async move {
            tokio::time::sleep(START).await;
            status.ready();
        }
    });
    let mut serving = tokio::spawn(bus.serve(agent.clone(), records, ready));
    let reloads = tokio::spawn(reload(agent.clone(), lifecycle.reloads(), file.to_owned(), status.clone()));
    let counting = tokio::spawn(count(agent.clone(), status));
    let stopping = lifecycle.stopping();
    tokio::select! {
        () = stopping.cancelled() => {}
        served = &mut serving => {
            served.context("bus")??;
            return Err(anyhow!("the connection to NATS ended")).or_exit(Exit::Unavailable);
        }
    }
    notify::stopping("draining");
    let _stopping = notify::Patience::ask();
    info!("stopping: {} streams may go on for {drain:?}", agent.allowlist.open());
    if lifecycle.drain(drain).await != Drained::Done {
        agent.stop_all(&shutting_down());
        if tokio::time::timeout(FAREWELLS, lifecycle.tasks().wait()).await.is_err() {
            warn!("{} streams did not end in time", lifecycle.tasks().len());
        }
    }
    if tokio::time::timeout(FAREWELLS, target::all_gone()).await.is_err() {
        warn!("programs of ended streams go on");
    }
    starting.abort();
    reloads.abort();
    counting.abort();
    // Both hold the agent; without them, the records end and the bus with them.
    let _ = (reloads.await, counting.await);
    drop(agent);
    match tokio::time::timeout(FAREWELLS, serving).await {
        Ok(served) => Ok(served.context("bus")??),
        Err(_) => {
            warn!("NATS: not every record could be published");
            Ok(())
        }
    }
}

/// What is turned off, or missing, is said at start.
fn announce(settings: &Settings) {
    if let Auth::Opaque(_) = settings.auth {
        warn!(
            "simple mode: commands are not signed; whoever may publish to this host's subjects opens its targets"
        );
    }
    if let Some(remark) = settings.nats.remark() {
        warn!("{remark}");
    }
    if settings.targets.is_empty() {
        warn!("no target is configured: nothing can be opened (targets.d)");
    }
    info!("host {}, {} targets, relays {}", settings.host, settings.targets.len(), settings.relays.join(" "));
}

async fn count(agent: Arc<Agent>, status: Status) {
    let mut before = 0;
    loop {
        let open = agent.allowlist.open();
        // Also when none was there a tick ago: thousands may have come and gone in between.
        if open == 0 || open < before {
            memory::give_back();
        }
        before = open;
        status.streams(open);
        tokio::time::sleep(STATUS_EVERY).await;
    }
}

async fn reload(
    agent: Arc<Agent>,
    mut reloads: tokio::sync::watch::Receiver<u64>,
    file: PathBuf,
    status: Status,
) {
    while reloads.changed().await.is_ok() {
        status.reloading();
        let reloaded = load(&file, Uid::effective().is_root())
            .map_err(anyhow::Error::from)
            .and_then(|(_, settings)| agent.reload(settings));
        match reloaded {
            Ok(needs_restart) => {
                info!("configuration reloaded, {} targets", agent.targets().targets.len());
                if needs_restart {
                    warn!("changes to host_id, subject_prefix and [nats] need a restart");
                }
                status.reloaded(
                    needs_restart.then(|| "a restart is needed for host_id, subject_prefix or [nats]".into()),
                );
            }
            Err(error) => {
                error!("configuration not reloaded, the old one stays: {error:#}");
                status.reloaded(Some(format!("reload failed, the old configuration stays: {error:#}")));
            }
        }
    }
}
