//! One stream between a websocket and something local.

use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use net::socket::Socket;
use protocol::control::{FromClient, FromHost, to_text};
use protocol::end::End;
use service::printable::printable;
use stream::bridge::{AtEof, ControlEffect, Local, bridge};
use websocket::connection::WebSocket;

use super::outcome::{EndReason, StreamOutcome};
use super::session_key::SessionKey;
use super::terminal;
use super::watched::Watched;

/// How long the close may take if this side ends the stream: the relay may hang.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The local side of a stream. Both names are for errors.
pub(crate) struct LocalSide<R, W> {
    /// Bytes for the target, and the name of their source.
    pub input: (R, &'static str),
    /// Where the target's output goes, and its name.
    pub output: (W, &'static str),
    /// Control messages for the host.
    pub control: Option<mpsc::Receiver<String>>,
    /// Whether the stream ends as soon as the host sends no more. A person who types expects that.
    pub ends_with_host: bool,
    /// Gets the key of the session.
    pub key: SessionKey,
}

/// Moves bytes until the stream ends, the local side fails, or `stop` resolves to the reason for ending it.
pub(crate) async fn run<R, W>(
    websocket: WebSocket<Socket>,
    side: LocalSide<R, W>,
    stop: impl Future<Output = EndReason>,
) -> StreamOutcome
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (status, host_ended) = (OnceLock::new(), CancellationToken::new());
    let on_text = |text: &str| match serde_json::from_str(text) {
        Ok(FromHost::Eof) => {
            if side.ends_with_host {
                host_ended.cancel();
            }
            ControlEffect::Eof
        }
        Ok(FromHost::Exit { code }) => {
            let _ = status.set(code);
            ControlEffect::None
        }
        Ok(FromHost::Refused { what, message }) => {
            terminal::notify(&format!("{}: {}", printable(&what), printable(&message)));
            ControlEffect::None
        }
        Ok(FromHost::Pong { .. } | FromHost::Unknown) | Err(_) => {
            side.key.receive(text);
            ControlEffect::None
        }
    };
    let (report, mut failed) = mpsc::channel(1);
    let local = Local {
        output: Watched::new(side.input.0, side.input.1, report.clone()),
        input: Some(Watched::new(side.output.0, side.output.1, report)),
        at_eof: AtEof::LeaveToPeer,
        control: side.control,
    };
    let leave = CancellationToken::new();
    let stopped = async {
        leave.cancelled().await;
        End::PeerLeft.into()
    };
    let mut stream = pin!(async {
        let (outcome, ended) = bridge(websocket, local, on_text, std::future::ready(Ok(None)), stopped).await;
        let is_lost = ended.is_lost();
        ended.close().await;
        match is_lost {
            true => EndReason::Lost(outcome.closing),
            false => EndReason::Closed(outcome.closing),
        }
    });
    let first = tokio::select! {
        biased;
        reason = &mut stream => Err(reason),
        Some(reason) = failed.recv() => Ok(reason),
        reason = stop => Ok(reason),
        () = host_ended.cancelled() => Ok(EndReason::Closed(End::TargetEnded.into())),
    };
    let reason = match first {
        // The last bytes may not have reached the output.
        Err(reason) => failed.try_recv().unwrap_or(reason),
        Ok(reason) => {
            leave.cancel();
            let _ = timeout(CLOSE_TIMEOUT, stream).await;
            reason
        }
    };
    StreamOutcome { reason, status: status.get().copied() }
}

/// Control messages with the terminal's size, now and after each change.
pub(crate) fn resizes() -> Option<mpsc::Receiver<String>> {
    let mut changed = signal(SignalKind::window_change()).ok()?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            if let Some((cols, rows)) = terminal::size()
                && sender.send(to_text(&FromClient::Resize { cols, rows })).await.is_err()
            {
                return;
            }
            if changed.recv().await.is_none() {
                return;
            }
        }
    });
    Some(receiver)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

    use service::exit::Exit;

    use super::super::testing::{World, opener};
    use super::*;

    #[tokio::test]
    async fn bytes_half_close_and_the_exit_status_come_back() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let websocket = opener(&world, dir.path(), &[]).dial().await.unwrap().websocket;
        let (near, mut far) = duplex(1024);
        let (input, output) = split(near);
        let (mut read, mut write) = (Vec::new(), b"x".repeat(300_000));
        let work = async {
            write.extend_from_slice(b"the end");
            let (mut reader, mut writer) = split(&mut far);
            let send = async {
                writer.write_all(&write).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            tokio::join!(send, reader.read_to_end(&mut read)).1.unwrap();
        };
        let (input, output) = ((input, "input"), (output, "output"));
        let side =
            LocalSide { input, output, control: None, ends_with_host: false, key: SessionKey::default() };
        let (finished, ()) = tokio::join!(run(websocket, side, std::future::pending()), work);
        assert_eq!(finished.result(None).unwrap(), 7);
        assert_eq!(read, write);
    }

    #[tokio::test]
    async fn a_relay_that_falls_silent_is_a_loss() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        world.is_silent.store(true, std::sync::atomic::Ordering::Relaxed);
        let mut opener = Arc::into_inner(opener(&world, dir.path(), &[])).unwrap();
        opener.dialer.limits.ping_interval = std::time::Duration::from_millis(20);
        let websocket = opener.dial().await.unwrap().websocket;
        let (near, _far) = duplex(1024);
        let (input, output) = split(near);
        let (input, output) = ((input, "input"), (output, "output"));
        let side =
            LocalSide { input, output, control: None, ends_with_host: false, key: SessionKey::default() };
        let error = run(websocket, side, std::future::pending()).await.result(None).unwrap_err();
        let text = "connection to the relay was lost: silent: two pings went unanswered";
        assert_eq!((error.exit, error.to_string().as_str()), (Exit::Unavailable, text));
    }
}
