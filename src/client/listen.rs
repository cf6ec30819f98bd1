//! `open --listen`: every local connection gets a stream of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::daemon::listen::ListenAddress;

use super::carry::{Side, carry};
use super::door::{Door, Presence, Visitor};
use super::ending::{Ending, Finished};
use super::open::{Opener, Source};
use super::terminal::say;

/// The pause after an accept that failed: running out of descriptors must not make us spin.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// How long streams may take to end in good order after a signal.
const FAREWELLS: Duration = Duration::from_secs(3);

/// How long a target may work on what a local program sent before it closed its connection.
const LAST_WORK: Duration = Duration::from_secs(3);

impl Opener {
    /// Accepts local connections until a signal.
    pub(super) async fn listen(
        self: Arc<Self>,
        address: &ListenAddress,
        as_json: bool,
    ) -> Result<(), ExitError> {
        self.look().await?;
        let door = Door::bind(address).await.with_context(|| format!("listen at {address}"));
        let door = door.or_exit(Exit::Unavailable)?;
        let bound = door.address().context("listen")?;
        if door.is_open_to_others().context("listen")? {
            say(&format!("{bound} is not loopback: whoever reaches it reaches the target"));
        }
        match as_json {
            true => println!("{}", json!({ "listening": bound })),
            false => println!("listening at {bound}"),
        }
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        let stop = CancellationToken::new();
        let mut accepting = std::pin::pin!(self.accept(door, stop.clone()));
        tokio::select! {
            ended = &mut accepting => return ended,
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        stop.cancel();
        // A second signal is not waited for: the time is short enough.
        tokio::time::timeout(FAREWELLS, accepting).await.unwrap_or(Ok(()))
    }

    /// Accepts until `stop`, and then waits for the streams to end. A URL is good for one session: it is over with its
    /// last stream, and whoever comes after the first is let in if the session takes more streams.
    pub(super) async fn accept(
        self: Arc<Self>,
        door: Door,
        stop: CancellationToken,
    ) -> Result<(), ExitError> {
        let is_url = matches!(self.source, Source::Url(_));
        let (mut streams, mut outcome) = (JoinSet::<Result<(), ExitError>>::new(), Ok(()));
        loop {
            let accepted = tokio::select! {
                accepted = door.accept() => accepted,
                () = stop.cancelled() => break,
                Some(ended) = streams.join_next() => {
                    match ended {
                        Ok(ended) if is_url => outcome = outcome.and(ended),
                        Ok(Err(error)) => error.report("stream-relay"),
                        // A panic has said so.
                        Ok(Ok(())) | Err(_) => {}
                    }
                    if is_url && streams.is_empty() {
                        return outcome;
                    }
                    continue;
                }
            };
            let visitor = match accepted {
                Ok(visitor) => visitor,
                Err(error) => {
                    say(&format!("accept failed: {error}"));
                    sleep(COOL_DOWN).await;
                    continue;
                }
            };
            if is_url && !streams.is_empty() && !self.key.is_known() {
                say("the URL is good for one connection, and it is open: another one was refused");
                continue;
            }
            let (this, stop) = (self.clone(), stop.clone());
            streams.spawn(async move { this.serve(visitor, &stop).await });
        }
        drop(door);
        while let Some(ended) = streams.join_next().await {
            if let Ok(Err(error)) = ended {
                error.report("stream-relay");
            }
        }
        outcome
    }

    async fn serve(&self, visitor: Visitor, stop: &CancellationToken) -> Result<(), ExitError> {
        let Visitor { input, output, presence } = visitor;
        let finished = self.bridge(input, output, &presence, stop).await;
        if !finished.as_ref().is_ok_and(Finished::is_whole) {
            presence.spoil();
        }
        match finished? {
            // A local program that breaks off is its own affair.
            Finished { ending: Ending::Local(..), .. } => Ok(()),
            finished => finished.result().map(drop),
        }
    }

    async fn bridge(
        &self,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
        presence: &Presence,
        stop: &CancellationToken,
    ) -> Result<Finished, ExitError> {
        const NAME: &str = "local connection";
        let leg = tokio::select! {
            leg = self.dial() => leg?,
            () = stop.cancelled() => return Ok(Finished { ending: Ending::User, status: None }),
        };
        let (count, over) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let input = Counted { inner: input, count: count.clone(), over: over.clone() };
        let left = async {
            over.cancelled().await;
            presence.left().await;
            if count.load(Ordering::Relaxed) > 0 {
                sleep(LAST_WORK).await;
            }
        };
        let stopped = async {
            tokio::select! {
                () = stop.cancelled() => Ending::User,
                () = left => Ending::Unread,
            }
        };
        let (input, output) = ((input, NAME), (output, NAME));
        let side = Side { input, output, notes: None, ends_with_host: false, key: self.key.clone() };
        Ok(carry(leg, side, stopped).await)
    }
}

/// Counts what a local program sends, and says when no more comes.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
    over: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        match buf.filled().len() - before {
            0 => self.over.cancel(),
            read => drop(self.count.fetch_add(read as u64, Ordering::Relaxed)),
        }
        Poll::Ready(Ok(()))
    }
}
