//! A session at the opener: passes the network half's requests to what opens the target, within what the grant and the
//! owner allow, and ends when it must.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use protocol::audit::{Context, Event};
use protocol::close::CloseFrame;
use protocol::end::{Closing, End};
use service::audit::Sink;
use service::counted::Counted;
use targets::{OpenError, Shared};

use super::cells::StartedCell;
use super::stop::Stop;
use super::streams::{Source, Streams};
use super::wire::{Connection, Reply, Request};

/// How long the network half may take to end its streams, or to take a message.
const PATIENCE: Duration = Duration::from_secs(2);

/// A session that has begun.
pub(crate) struct ServedSession {
    pub client: Arc<Connection>,
    pub backend: Backend,
    pub revoked: Stop,
    /// How many streams it may have in all.
    pub streams: u32,
    /// How long it may last after its first stream was asked for.
    pub longest: Duration,
    /// What records say of it.
    pub context: Context,
    pub stopping: CancellationToken,
}

/// What opens the target.
pub(crate) enum Backend {
    Here(Streams),
    Cell(StartedCell),
}

impl Backend {
    /// This process, or why the target cannot be opened.
    pub(crate) fn here(
        source: Result<Source, OpenError>,
        shared: Shared,
        replies: Arc<Connection>,
    ) -> Backend {
        Backend::Here(Streams::new(source, shared, replies))
    }

    /// Passes a request about a stream on. Others are not the network half's to send.
    async fn pass(&self, request: Request) -> io::Result<()> {
        match (self, &request) {
            (Backend::Here(streams), _) => streams.take(request).await,
            (Backend::Cell(cell), Request::Open { .. } | Request::Ask { .. } | Request::Close { .. }) => {
                cell.connection.send(&request, None).await
            }
            (Backend::Cell(_), _) => Err(io::Error::other("the session has begun already")),
        }
    }
}

impl ServedSession {
    /// Runs until the network half closes the connection, or the session must end.
    pub(crate) async fn run(self) -> io::Result<()> {
        let why = self.serve().await;
        if let Ok(Some(why)) = &why {
            info!("the session must end: {}", why.reason);
            let stop = Reply::Stop(why.clone().into());
            let ended = async {
                self.client.send(&stop, None).await?;
                while self.client.receive::<Request>().await?.is_some() {}
                io::Result::Ok(())
            };
            if !matches!(timeout(PATIENCE, ended).await, Ok(Ok(()))) {
                info!("the network half did not end the session");
            }
        }
        // A cell does the same at the end of its connection.
        match self.backend {
            Backend::Here(streams) => streams.close_all().await,
            Backend::Cell(cell) => cell.end().await,
        }
        why.map(drop)
    }

    /// Serves the network half; returns why the session must end, or nothing if the network half has ended it.
    async fn serve(&self) -> io::Result<Option<Closing>> {
        let mut streams = 0;
        let mut until = None;
        loop {
            tokio::select! {
                biased;
                why = self.revoked.wait() => return Ok(Some(why.into())),
                () = at(until) => {
                    return Ok(Some(CloseFrame::new(End::SessionEnded, "the session's time is over").into()));
                }
                () = self.stopping.cancelled() => {
                    return Ok(Some(CloseFrame::new(End::PeerLeft, "host is shutting down").into()));
                }
                request = self.client.receive() => match request? {
                    None => return Ok(None),
                    Some((Request::Open { stream, .. }, _)) if streams == self.streams => {
                        self.refuse(stream).await?;
                    }
                    Some((request, _)) => {
                        if let Request::Open { stream, .. } = request {
                            streams += 1;
                            until.get_or_insert_with(|| Instant::now() + self.longest);
                            self.report(stream);
                        }
                        self.backend.pass(request).await?;
                    }
                },
                reply = self.cell_reply() => match reply {
                    Ok(Some((reply, descriptor))) => self.reply(&reply, descriptor.as_ref()).await?,
                    _ => {
                        return Ok(Some(CloseFrame::new(End::TargetFailed, "the target's program ended").into()));
                    }
                },
            }
        }
    }

    async fn refuse(&self, stream: u32) -> io::Result<()> {
        let message = format!("the session may have {} in all", Counted(self.streams, "stream"));
        let error = OpenError { end: End::NotAllowed, message };
        self.reply(&Reply::NotOpened { stream, error: error.into() }, None).await
    }

    /// A network half that takes no messages must not delay the end of the session.
    async fn reply(&self, reply: &Reply, descriptor: Option<&OwnedFd>) -> io::Result<()> {
        timeout(PATIENCE, self.client.send(reply, descriptor)).await?
    }

    async fn cell_reply(&self) -> io::Result<Option<(Reply, Option<OwnedFd>)>> {
        match &self.backend {
            Backend::Cell(cell) => cell.connection.receive().await,
            Backend::Here(_) => std::future::pending().await,
        }
    }

    fn report(&self, stream: u32) {
        let context = Context { stream: Some(stream), ..self.context.clone() };
        Sink::log().report(context, Event::Started);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
