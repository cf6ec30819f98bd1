//! Two websockets linked: those of a host and a client, at the relay.
//!
//! Two pumps, one for each direction, each with one reading and one writing half: a direction that is stuck does not
//! block the other.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use protocol::close::CloseFrame;
use protocol::end::{Closing, Outcome};
use websocket::connection::{CloseAction, EndedWebSocket, StopSignal, WebSocket};
use websocket::keepalive::PingTimer;

use pump::{Ended, Pump};

mod pump;

/// Moves bytes between a host and a client until one of them ends, or `stop` resolves. The caller then closes both
/// returned websockets. Control messages of the host reach the client only if it speaks `stream.v1`.
#[allow(clippy::manual_async_fn, reason = "an async fn holds each argument twice, and thousands are idle")]
pub fn link<H, C>(
    mut host: WebSocket<H>,
    mut client: WebSocket<C>,
    client_speaks_control: bool,
    stop: impl Future<Output = CloseFrame>,
) -> impl Future<Output = (Outcome, EndedWebSocket<H>, EndedWebSocket<C>)>
where
    H: AsyncRead + AsyncWrite,
    C: AsyncRead + AsyncWrite,
{
    async move {
        let (bytes_in, bytes_out) = (AtomicU64::new(0), AtomicU64::new(0));
        let stop_signal = StopSignal::default();
        let (why, for_host, for_client) = {
            let mut inward = Pump {
                from: &mut client.reader,
                from_keepalive: &client.keepalive,
                from_client: true,
                to: &mut host.writer,
                to_keepalive: &host.keepalive,
                ping_timer: PingTimer::new(host.limits.ping_interval),
                pass_text: true,
                count: &bytes_in,
                stop_signal: &stop_signal,
            };
            let mut outward = Pump {
                from: &mut host.reader,
                from_keepalive: &host.keepalive,
                from_client: false,
                to: &mut client.writer,
                to_keepalive: &client.keepalive,
                ping_timer: PingTimer::new(client.limits.ping_interval),
                pass_text: client_speaks_control,
                count: &bytes_out,
                stop_signal: &stop_signal,
            };
            let (mut inward, mut outward) = (pin!(inward.run()), pin!(outward.run()));
            let first = tokio::select! {
                why = stop => Err(why),
                ended = &mut inward => Ok((ended, true)),
                ended = &mut outward => Ok((ended, false)),
            };
            let (host_wait, client_wait) = (host.limits.close_wait, client.limits.close_wait);
            match first {
                Ok((ended, true)) => {
                    let (why, from, to) = Box::pin(settle(ended, outward, &stop_signal, client_wait)).await;
                    (why, to, from)
                }
                Ok((ended, false)) => Box::pin(settle(ended, inward, &stop_signal, host_wait)).await,
                Err(why) => {
                    stop_signal.send(Some(&why));
                    let (inward, outward) = Box::pin(async {
                        tokio::join!(timeout(host_wait, inward), timeout(client_wait, outward))
                    })
                    .await;
                    let send = CloseAction::Send(why.clone());
                    (why.into(), known(send.clone(), outward.ok()), known(send, inward.ok()))
                }
            }
        };
        let outcome =
            Outcome { bytes_in: bytes_in.into_inner(), bytes_out: bytes_out.into_inner(), closing: why };
        (
            outcome,
            EndedWebSocket { websocket: host, close_action: for_host },
            EndedWebSocket { websocket: client, close_action: for_client },
        )
    }
}

/// Ends the second pump after the first has ended. Returns why, and how to close the side that the first reads from
/// and the side that it writes to.
async fn settle(
    first: Ended,
    other: impl Future<Output = Ended>,
    stop_signal: &StopSignal,
    wait: Duration,
) -> (Closing, CloseAction, CloseAction) {
    if first.from == CloseAction::Gone {
        return (first.why, first.from, first.to);
    }
    // A side that takes no more bytes may have sent bytes and a close frame before: these are delivered first.
    if !first.broken {
        stop_signal.send(None);
    }
    match timeout(wait, other).await {
        Ok(other) if first.broken => (other.why, other.to, other.from),
        // If both sides closed at once, the host's reason counts.
        Ok(other) if first.from_client && matches!(other.from, CloseAction::Echo(_)) => {
            (other.why, first.from, other.from)
        }
        other => (first.why, first.from, known(first.to, other.ok())),
    }
}

/// How to close a side: as decided, unless the pump that reads it has found that it closed or is gone.
fn known(decided: CloseAction, reading: Option<Ended>) -> CloseAction {
    match reading.map(|reading| reading.from) {
        Some(known @ (CloseAction::Echo(_) | CloseAction::Gone)) => known,
        _ => decided,
    }
}
