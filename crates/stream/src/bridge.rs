//! A websocket linked with something local: a target at the agent, a port or a terminal at the client.
//!
//! A websocket has no half-close; between agent and client a control message stands for it.

use std::future::Future;
use std::pin::pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use protocol::close::CloseFrame;
use protocol::end::{Closing, End, Outcome};
use protocol::failure::Failure;
use websocket::connection::{CloseAction, EndedWebSocket, WebSocket};
use websocket::keepalive::PingTimer;

use input::InputPump;
pub use local::{AtEof, ControlEffect, Local};
use output::{OutputEnd, OutputPump};
use shared::Shared;

mod input;
mod local;
mod output;
mod shared;

/// Moves bytes between a websocket and something local until one of them ends, or `stop` resolves. The caller then
/// closes the returned websocket.
///
/// `on_control` handles control messages. When the local output has ended under [`AtEof::End`], `final_message` is
/// awaited: its text is sent before the close, or its failure ends the stream.
#[allow(clippy::manual_async_fn, reason = "an async fn holds each argument twice, and thousands are idle")]
pub fn bridge<S, R, W>(
    mut websocket: WebSocket<S>,
    local: Local<R, W>,
    on_control: impl FnMut(&str) -> ControlEffect,
    final_message: impl Future<Output = Result<Option<String>, Failure>>,
    stop: impl Future<Output = CloseFrame>,
) -> impl Future<Output = (Outcome, EndedWebSocket<S>)>
where
    S: AsyncRead + AsyncWrite,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    async move {
        let shared = Shared::default();
        let wait = websocket.limits.close_wait;
        let (why, close_action) = {
            let mut input = InputPump {
                reader: &mut websocket.reader,
                keepalive: &websocket.keepalive,
                input: local.input,
                on_control,
                shared: &shared,
            };
            let mut output = OutputPump {
                read_size: websocket.read_size,
                output: local.output,
                at_eof: local.at_eof,
                control: local.control,
                writer: &mut websocket.writer,
                keepalive: &websocket.keepalive,
                ping_timer: PingTimer::new(websocket.limits.ping_interval),
                shared: &shared,
            };
            let (mut input, mut output) = (pin!(input.run()), pin!(output.run(final_message)));
            let first = tokio::select! {
                why = stop => First::Peer((why.clone().into(), CloseAction::Send(why))),
                ended = &mut input => First::Peer(ended),
                ended = &mut output => First::Output(ended),
            };
            match first {
                First::Peer(ended) => {
                    // A close frame can follow only a whole frame.
                    if ended.1 != CloseAction::Gone {
                        shared.stop_signal.send(None);
                        let _ = Box::pin(timeout(wait, output)).await;
                    }
                    ended
                }
                // A peer that takes no more bytes may have sent bytes and a close frame before.
                First::Output(OutputEnd::Broken(why)) => {
                    Box::pin(timeout(wait, input)).await.unwrap_or((why, CloseAction::Gone))
                }
                First::Output(OutputEnd::Ended) => {
                    (End::TargetEnded.into(), CloseAction::Send(End::TargetEnded.into()))
                }
                First::Output(OutputEnd::Failed(error)) => {
                    let why = Closing::new(End::TargetFailed, error.to_string());
                    (why, CloseAction::Send(CloseFrame::failed(Failure::from_error(&error))))
                }
                First::Output(OutputEnd::Gone(why)) => (why, CloseAction::Gone),
            }
        };
        let (bytes_in, bytes_out) = (shared.from_peer.into_inner(), shared.to_peer.into_inner());
        (Outcome { bytes_in, bytes_out, closing: why }, EndedWebSocket { websocket, close_action })
    }
}

enum First {
    /// The peer ended, or `stop` resolved.
    Peer((Closing, CloseAction)),
    Output(OutputEnd),
}
