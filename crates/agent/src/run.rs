//! The agent's life: connect, serve, reload, drain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::unistd::Uid;
use tracing::{error, info, warn};

use opener::{ListError, Opener};
use service::counted::Counted;
use service::exit::{Exit, ExitError, OrExit};
use service::lifecycle::{Drained, Lifecycle};
use service::{memory, notify};
use targets::Shared;

use super::Agent;
use super::bus::Bus;
use super::config::{Auth, Settings, load, load_network_half};
use super::parked::shutting_down;
use super::status::Status;

/// How often the number of streams in the status line is updated.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// How often the opener is asked for its list until it answers.
const LIST_AGAIN: Duration = Duration::from_secs(5);

/// How long each of these may take after the drain: close frames, the last records.
const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// How long programs of ended streams may take. Those in containers end through their engine, which is slow on a busy host.
const LAST_PROGRAMS: Duration = Duration::from_secs(10);

/// How long the service manager waits until commands arrive. NATS may be away for long, and must not block the boot of a
/// host or an upgrade; the status line shows what is missing.
const START: Duration = Duration::from_secs(20);

/// Runs an agent until a signal ends it.
///
/// # Errors
/// What keeps it from starting. Later errors are logged, and what failed is tried again.
pub async fn run(file: &Path, settings: Settings, opener: Option<PathBuf>) -> Result<(), ExitError> {
    let lifecycle = Lifecycle::start().context("take over signals")?;
    let shared = Shared::new(lifecycle.children().clone());
    let opener = match opener {
        Some(socket) => Opener::elsewhere(socket),
        None => Opener::here(settings.targets.clone(), shared.clone()),
    };
    // Openers start for each session, so the agent can start before they can.
    let listed = opener.refresh().await;
    match &listed {
        Err(ListError::Misconfigured(why)) => return Err(anyhow!("{why}")).or_exit(Exit::Config),
        Err(error) => error!("{error}"),
        Ok(()) => {}
    }
    if !opener.is_elsewhere() {
        info!("unsplit: this process, which faces the network, also opens the targets (docs: security.md)");
    }
    let is_listed = listed.is_ok();
    if settings.spare {
        opener.keep_spare();
    }
    announce(&settings, listed.ok().map(|()| opener.targets().len()));
    let drain = settings.drain_timeout;
    let status = Status::new(shape(&settings, &opener));
    let (agent, records) = Agent::new(settings, opener, lifecycle.stopping(), lifecycle.tasks().clone())
        .or_exit(Exit::Config)?;
    let bus = Bus::connect(&agent, status.clone()).await.or_exit(Exit::Config)?;
    let _watchdog = {
        let (reads, status) = (bus.read_monitor(), status.clone());
        // The call itself shows that the runtime works.
        let health = move |_| std::future::ready(reads.check());
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
    let listing = tokio::spawn(list(agent.clone(), is_listed));
    let stopping = lifecycle.stopping();
    tokio::select! {
        () = stopping.cancelled() => {}
        served = &mut serving => {
            served.context("bus")??;
            return Err(anyhow!("the connection to NATS ended")).or_exit(Exit::Unavailable);
        }
    }
    notify::stopping("draining");
    let _stopping = notify::StopExtension::start();
    match agent.state.places.open() {
        0 => info!("stopping: no stream is open"),
        open => info!("stopping: {} may go on for {drain:?}", Counted(open, "stream")),
    }
    if lifecycle.drain(drain).await != Drained::Done {
        agent.stop_all(&shutting_down());
        if tokio::time::timeout(AFTER_DRAIN, lifecycle.tasks().wait()).await.is_err() {
            warn!("{} did not end in time", Counted(lifecycle.tasks().len(), "stream"));
        }
    }
    if tokio::time::timeout(LAST_PROGRAMS, shared.all_gone()).await.is_err() {
        warn!("programs of ended streams go on");
    }
    starting.abort();
    reloads.abort();
    counting.abort();
    listing.abort();
    // They hold the agent. When it is dropped, the channel of records closes and the bus ends.
    let _ = (reloads.await, counting.await, listing.await);
    drop(agent);
    match tokio::time::timeout(AFTER_DRAIN, serving).await {
        Ok(served) => Ok(served.context("bus")??),
        Err(_) => {
            warn!("NATS: not every record could be published");
            Ok(())
        }
    }
}

/// What the status line says of the way in which targets are opened.
fn shape(settings: &Settings, opener: &Opener) -> Option<&'static str> {
    match (opener.is_elsewhere(), &settings.auth) {
        (false, _) => Some("unsplit: this process opens the targets"),
        (true, Auth::Opaque(_)) => Some("the opener believes this process (split.trust_network_half)"),
        (true, Auth::Signed { .. }) => None,
    }
}

/// Logs what is turned off or missing.
fn announce(settings: &Settings, targets: Option<usize>) {
    if let Auth::Opaque(_) = settings.auth {
        warn!(
            "simple mode: commands are not signed; anyone who may publish to this host's subjects opens its targets"
        );
    }
    if let Some(remark) = settings.nats.remark() {
        warn!("{remark}");
    }
    if targets == Some(0) {
        warn!("no target is configured: nothing can be opened (targets.d)");
    }
    let targets = targets.map_or("targets unknown".into(), |targets| Counted(targets, "target").to_string());
    info!("host {}, {targets}, relays {}", settings.host, settings.relays.join(" "));
}

/// Asks the opener for its list until it answers: at boot it may not be able to yet.
async fn list(agent: Arc<Agent>, mut is_listed: bool) {
    while !is_listed {
        tokio::time::sleep(LIST_AGAIN).await;
        is_listed = agent.state.opener.refresh().await.is_ok();
    }
}

async fn count(agent: Arc<Agent>, status: Status) {
    let mut before = 0;
    loop {
        let open = agent.state.places.open();
        // Also if none was open at the last tick: thousands may have come and gone since.
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
        let loaded = match agent.state.opener.is_elsewhere() {
            true => load_network_half(&file),
            false => load(&file, Uid::effective().is_root()),
        };
        let reloaded = loaded.map_err(anyhow::Error::from).and_then(|(_, settings)| agent.reload(settings));
        if let Err(error) = agent.state.opener.refresh().await {
            error!("{error}");
        }
        match reloaded {
            Ok(needs_restart) => {
                let targets = Counted(agent.targets().targets.len(), "target");
                info!("configuration reloaded, {targets}");
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
