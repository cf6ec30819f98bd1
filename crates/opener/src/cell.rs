//! A cell: opens one target for the opener, in a process that systemd isolates. It reads no configuration, and decides
//! nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::SockRef;
use tokio::task::JoinSet;
use tokio_seqpacket::UnixSeqpacketListener;
use tracing::debug;

use protocol::end::End;
use targets::{OpenError, Shared, Target};

use super::lifeline;
use super::streams::{Source, Streams};
use super::wire::{CellTarget, Connection, Reply, Request};

/// Serves the opener behind a connected socket, until it closes the connection. Behind a listening socket, all openers
/// that connect: they share what the target shares, such as a serial line.
///
/// # Errors
/// Those of the socket.
pub async fn serve(socket: OwnedFd, shared: Shared) -> io::Result<()> {
    if !SockRef::from(&socket).is_listener()? {
        return serve_one(Connection::from_passed(socket)?, shared, true).await;
    }
    SockRef::from(&socket).set_nonblocking(true)?;
    let mut listener = UnixSeqpacketListener::try_from(socket)?;
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (opener, shared) = (Connection::from_socket(accepted?), shared.clone());
                sessions.spawn(async move {
                    if let Err(error) = serve_one(opener, shared, false).await {
                        debug!("an opener's connection ended: {error}");
                    }
                });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// `is_alone`: this process ends with the session.
async fn serve_one(opener: Connection, shared: Shared, is_alone: bool) -> io::Result<()> {
    let opener = Arc::new(opener);
    let Some((Request::Target(CellTarget { name, table, params, mode }), lifeline)) =
        opener.receive().await?
    else {
        return Ok(());
    };
    // Until the process ends.
    let _held = lifeline.filter(|_| is_alone).map(lifeline::hold).transpose()?;
    // The opener has checked the same with the same code, so errors come from another version of it.
    let failed = |message: String| OpenError { end: End::TargetFailed, message };
    let target = Target::from_table(&name, table).map_err(|error| failed(error.to_string()));
    let source = target.as_ref().map_err(Clone::clone).and_then(|target| {
        let bound = target.bind(&params).map_err(|error| failed(error.to_string()))?;
        Ok(Source { bound, mode, profile: target.profile })
    });
    let streams = Streams::new(source, shared, opener.clone());
    let served = serve_target(&opener, target.as_ref(), &streams).await;
    streams.close_all().await;
    served
}

async fn serve_target(
    opener: &Connection,
    target: Result<&Target, &OpenError>,
    streams: &Streams,
) -> io::Result<()> {
    while let Some((request, _)) = opener.receive().await? {
        match request {
            Request::ProbeTarget => {
                let found = match target {
                    Ok(target) => target.probe().await.map_err(|error| error.message),
                    Err(error) => Err(error.message.clone()),
                };
                opener.send(&Reply::Probed(found), None).await?;
            }
            request => streams.take(request).await?,
        }
    }
    Ok(())
}
