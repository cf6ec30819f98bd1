//! The opener's process: one connection of the network half, which begins one session, or asks for the list of targets.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use protocol::audit::{Context, Event};
use protocol::command::Code;
use protocol::end::{Closing, End};
use service::audit::Sink;
use targets::{Cell, Shared};

use super::admission::{Refused, begin};
use super::allowlist::Allowlist;
use super::cells;
use super::session::{Backend, ServedSession};
use super::settings::Settings;
use super::wire::{Connection, Reply, Request};

/// After this time without a first message, the opener is a spare one, and starts a cell for a program, too.
const SPARE: Duration = Duration::from_millis(200);

/// What surrounds an opener.
pub struct Environment {
    /// The folder of the sockets of cells.
    pub runtime: PathBuf,
    /// The folder of the sessions that have begun.
    pub seen: PathBuf,
    /// What the targets that the opener opens itself share.
    pub shared: Shared,
    /// Changes when the configuration is to be read again.
    pub reloads: watch::Receiver<u64>,
    pub stopping: CancellationToken,
}

/// Serves a connection of the network half until its session has ended.
///
/// # Errors
/// Those of the connection and of the configuration at start.
pub async fn serve<E: std::fmt::Display>(
    socket: OwnedFd,
    load: impl Fn() -> Result<Settings, E>,
    environment: Environment,
) -> io::Result<()> {
    let client = Arc::new(Connection::from_passed(socket)?);
    let Some((request, ahead)) = first(&client, &load, &environment).await? else { return Ok(()) };
    // Not earlier: a spare opener may have been waiting for hours.
    let settings = match load() {
        Ok(settings) => settings,
        Err(error) => {
            error!("the opener cannot read its configuration: {error}");
            return client.send(&Reply::Misconfigured(error.to_string()), None).await;
        }
    };
    let allowlist = Allowlist::new(settings.targets.clone());
    let begun = match request {
        Request::List => return client.send(&Reply::Targets(allowlist.infos()), None).await,
        Request::Probe(name) => {
            // It connects to the target, and tells what it finds. The network half has no use for that.
            let found = match client.is_administrator() {
                true => cells::probe(&name, &settings, &environment.runtime).await,
                false => Err("only root may have a target probed".into()),
            };
            return client.send(&Reply::Probed(found), None).await;
        }
        Request::Begin(start) => begin(start, &settings, &allowlist, &environment.seen),
        _ => return Err(io::Error::other("the first message begins no session")),
    };
    let (verified, permit) = match begun {
        Ok(begun) => begun,
        Err(refused) => {
            let Refused { refusal, context } = *refused;
            let end = if refusal.code == Code::Busy { End::TooMany } else { End::NotAllowed };
            Sink::log().report(context, Event::Refused(Closing::new(end, refusal.to_string())));
            return client.send(&Reply::Refused(refusal), None).await;
        }
    };
    let permitted = permit.permitted(verified.request.max_streams);
    client.send(&Reply::Permitted(permitted.clone()), None).await?;
    let request = verified.request;
    let backend = match cells::of_target(permit.target(), &environment.runtime) {
        None => Backend::here(Ok(permit.source()), environment.shared, client.clone()),
        Some(path) => {
            let ahead = ahead.filter(|_| path == cells::of_programs(&environment.runtime));
            match cells::begin(&path, permit.target(), &request.params, permitted.mode, &settings, ahead)
                .await
            {
                Ok(cell) => Backend::Cell(cell),
                // Said to each client that comes.
                Err(why) => Backend::here(Err(why), environment.shared, client.clone()),
            }
        }
    };
    let longest = request.duration(settings.session);
    let context = Context { mode: Some(permitted.mode), params: request.params, ..verified.context };
    let session = ServedSession {
        client,
        backend,
        revoked: permit.revoked().clone(),
        streams: permitted.streams,
        longest,
        context,
        stopping: environment.stopping,
    };
    let reloading = reload(allowlist, load, environment.reloads);
    tokio::select! {
        ended = session.run() => ended,
        () = reloading => Ok(()),
    }
}

/// The first request of the network half, and a connection to the cell of a program if there was time to make one. `None`
/// if there is no request.
async fn first<E>(
    client: &Connection,
    load: impl Fn() -> Result<Settings, E>,
    environment: &Environment,
) -> io::Result<Option<(Request, Option<Connection>)>> {
    if let Ok(received) = timeout(SPARE, client.receive()).await {
        return Ok(received?.map(|(request, _)| (request, None)));
    }
    let runs_programs =
        load().is_ok_and(|settings| settings.targets.iter().any(|target| target.cell() == Cell::Program));
    let ahead = match runs_programs {
        true => Connection::to(&cells::of_programs(&environment.runtime)).await.ok(),
        false => None,
    };
    tokio::select! {
        received = client.receive() => Ok(received?.map(|(request, _)| (request, ahead))),
        () = environment.stopping.cancelled() => Ok(None),
    }
}

/// Applies the configuration again at each request, forever.
async fn reload<E: std::fmt::Display>(
    allowlist: Allowlist,
    load: impl Fn() -> Result<Settings, E>,
    mut reloads: watch::Receiver<u64>,
) {
    while reloads.changed().await.is_ok() {
        match load() {
            Ok(settings) => {
                allowlist.replace(settings.targets);
                info!("configuration reloaded");
            }
            Err(error) => error!("configuration not reloaded, the old one stays: {error}"),
        }
    }
    std::future::pending().await
}
