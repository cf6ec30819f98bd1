//! A host's websocket linked with a client's connection that has no frames.

use std::future::{Future, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use net::socket::Socket;
use protocol::close::CloseFrame;
use protocol::control::FromHost;
use protocol::end::{Closing, End, Outcome};
use stream::bridge::{AtEof, ControlEffect, Local, bridge};
use websocket::connection::{CloseAction, EndedWebSocket};

use super::records::Records;
use super::watch::{LEFT, LOST, Watch, Watched};
use crate::state::HostSocket;

/// How long a client may take to read what it was sent, and to end its own direction.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// What is left of both sides when their stream has ended.
pub(super) struct Sides {
    host: EndedWebSocket<Socket>,
    client: (ReadHalf<Socket>, WriteHalf<Socket>),
    /// Whether the client got everything. If not, its connection ends without TLS's `close_notify`.
    is_complete: bool,
}

/// Moves bytes until one side ends, or `stop` resolves.
pub(super) async fn link(
    host: HostSocket,
    client: Socket,
    early: Bytes,
    stop: impl Future<Output = CloseFrame>,
) -> (Outcome, Sides) {
    let is_tls = matches!(client, Socket::Tls(_));
    let (mut read, mut write) = tokio::io::split(client);
    let watch = Watch::default();
    let (outcome, host) = {
        let reader = early.as_ref().chain(&mut read);
        let local = Local {
            output: Watched { inner: reader, watch: &watch },
            input: Some(Watched { inner: Records::new(&mut write, is_tls), watch: &watch }),
            at_eof: AtEof::LeaveToPeer,
            control: None,
        };
        let on_text = |text: &str| match serde_json::from_str(text) {
            Ok(FromHost::Eof) => ControlEffect::Eof,
            _ => ControlEffect::None,
        };
        let stop = async {
            tokio::select! {
                why = stop => why,
                why = watch.gone() => why,
            }
        };
        bridge(host, local, on_text, ready(Ok(None)), stop).await
    };
    let (closing, close_action) = ended(outcome.closing, host.close_action);
    // The bridge's peer is the host.
    let outcome = Outcome { bytes_in: outcome.bytes_out, bytes_out: outcome.bytes_in, closing };
    let is_complete = outcome.closing.end == End::TargetEnded;
    let host = EndedWebSocket { close_action, ..host };
    (outcome, Sides { host, client: (read, write), is_complete })
}

/// Why the stream ended, and how to close the host, as a pair of websockets has it: the host's reason counts without its
/// details, and a client's fault is no failure of a target.
fn ended(why: Closing, close_action: CloseAction) -> (Closing, CloseAction) {
    match (why.end, &close_action) {
        (End::TargetEnded, CloseAction::Echo(_)) => {
            (Closing { end: CloseFrame::by_host(&why).end(), ..why }, close_action)
        }
        (End::TargetFailed, CloseAction::Send(_)) => {
            let reason = format!("{}: {}", LOST.words(), why.reason);
            (Closing::new(End::PeerLost, reason), CloseAction::Send(LOST))
        }
        (End::TargetEnded, CloseAction::Send(_)) => (LEFT.into(), CloseAction::Send(LEFT)),
        _ => (why, close_action),
    }
}

impl Sides {
    /// Closes both.
    pub(super) async fn close(self) {
        let Sides { host, client: (mut read, mut write), is_complete } = self;
        let client = async {
            if !is_complete {
                return;
            }
            // Closing a socket that has unread bytes resets the connection, and the client may lose what it has not
            // read yet.
            let closed = async {
                write.shutdown().await?;
                tokio::io::copy(&mut read, &mut tokio::io::sink()).await
            };
            let _ = timeout(CLOSE_WAIT, closed).await;
        };
        tokio::join!(host.close(), client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_lost_is_no_failed_target() {
        let failed = Closing::new(End::TargetFailed, "reset");
        let (why, action) = ended(failed.clone(), CloseAction::Send(End::TargetFailed.into()));
        assert_eq!((why.end, action), (End::PeerLost, CloseAction::Send(LOST)));
        assert_eq!(why.reason, "connection to the client was lost: reset");
        // The host's own words stay.
        let (why, action) = ended(failed.clone(), CloseAction::Echo(Some(4502)));
        assert_eq!((why, action), (failed, CloseAction::Echo(Some(4502))));
        // An old agent's word for a failure.
        let (why, _) =
            ended(Closing::new(End::TargetEnded, "target failed: x"), CloseAction::Echo(Some(1000)));
        assert_eq!(why.end, End::TargetFailed);
    }
}
