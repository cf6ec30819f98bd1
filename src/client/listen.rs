//! `open --listen`: every local connection gets a stream of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::protocol::close::CloseFrame;
use crate::protocol::end::End;

use super::carry::{carry, finished};
use super::open::{Opener, Source};

/// The pause after an accept that failed: running out of descriptors must not make us spin.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// How long streams may take to end in good order after a signal.
const FAREWELLS: Duration = Duration::from_secs(3);

impl Opener {
    /// Accepts local connections until a signal.
    pub(super) async fn listen(self: Arc<Self>, address: &str, as_json: bool) -> Result<(), ExitError> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listen at {address}"));
        let listener = listener.or_exit(Exit::Unavailable)?;
        let bound = listener.local_addr().context("listen")?;
        if !bound.ip().is_loopback() {
            eprintln!("stream-relay: {bound} is not loopback: whoever reaches it reaches the target");
        }
        match as_json {
            true => println!("{}", json!({ "listening": bound })),
            false => println!("listening at {bound}"),
        }
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        let stop = CancellationToken::new();
        let mut accepting = std::pin::pin!(self.accept(listener, stop.clone()));
        tokio::select! {
            ended = &mut accepting => return ended,
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        stop.cancel();
        // A second signal is not waited for: the time is short enough.
        tokio::time::timeout(FAREWELLS, accepting).await.unwrap_or(Ok(()))
    }

    /// Accepts until `stop`, and then waits for the streams to end.
    pub(super) async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), ExitError> {
        let streams = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    eprintln!("stream-relay: accept failed: {error}");
                    tokio::time::sleep(COOL_DOWN).await;
                    continue;
                }
            };
            if let Source::Url(_) = self.source {
                // The URL is good for one session: whoever comes second is refused at once.
                drop(listener);
                return self.serve(stream, &stop).await;
            }
            let (this, stop) = (self.clone(), stop.clone());
            streams.spawn(async move {
                if let Err(error) = this.serve(stream, &stop).await {
                    eprintln!("stream-relay: {error}");
                }
            });
        }
        streams.close();
        streams.wait().await;
        Ok(())
    }

    async fn serve(&self, stream: TcpStream, stop: &CancellationToken) -> Result<(), ExitError> {
        stream.set_nodelay(true).context("local connection")?;
        let leg = tokio::select! {
            leg = self.dial() => leg?,
            () = stop.cancelled() => return Ok(()),
        };
        let (input, output) = stream.into_split();
        let stopped = async {
            stop.cancelled().await;
            CloseFrame::from(End::PeerLeft)
        };
        let (outcome, _) = carry(leg, input, output, None, stopped).await;
        if stop.is_cancelled() { Ok(()) } else { finished(&outcome) }
    }
}
