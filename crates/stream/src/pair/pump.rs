//! One direction of a pair: reads one websocket, writes the other.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep_until;

use crate::turn::Turn;
use protocol::close::CloseFrame;
use protocol::end::{Closing, End};
use websocket::connection::{
    CloseAction, StopSignal, close_action_after, code_of, cut_off, from_peer, silent,
};
use websocket::keepalive::{Keepalive, PingTimer};
use websocket::reader::{Event, FrameReader, ReadError};
use websocket::writer::{FrameWriter, WriteError};

pub(super) struct Pump<'a, R, W> {
    pub(super) from: &'a mut FrameReader<R>,
    pub(super) from_keepalive: &'a Keepalive,
    pub(super) from_client: bool,
    pub(super) to: &'a mut FrameWriter<W>,
    pub(super) to_keepalive: &'a Keepalive,
    /// When to ping the side that is written to.
    pub(super) ping_timer: PingTimer,
    /// Whether control messages are forwarded.
    pub(super) pass_text: bool,
    /// Payload bytes so far.
    pub(super) count: &'a AtomicU64,
    pub(super) stop_signal: &'a StopSignal,
}

/// How one direction ended, and how to close its two sides.
pub(super) struct Ended {
    pub(super) why: Closing,
    pub(super) from_client: bool,
    pub(super) from: CloseAction,
    pub(super) to: CloseAction,
    /// Writing failed; what that side sent before may still be readable.
    pub(super) broken: bool,
}

enum Next<'a> {
    Stop(Option<&'a CloseFrame>),
    Pong(Vec<u8>),
    Ping,
    Event(Result<Event<'a>, ReadError>),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<'_, R, W> {
    /// Runs until one side ends. What happens seldom is boxed: each stream has this future's state twice.
    pub(super) async fn run(&mut self) -> Ended {
        let mut due = pin!(sleep_until(self.ping_timer.due()));
        let mut turn = Turn::default();
        loop {
            self.from_keepalive.set_listening(true);
            let next = tokio::select! {
                biased;
                closing = self.stop_signal.received() => Next::Stop(closing),
                payload = self.to_keepalive.next_pong() => Next::Pong(payload),
                // Before the bytes: many of them must not delay the ping.
                () = &mut due => Next::Ping,
                event = self.from.next(self.from_keepalive) => Next::Event(event),
            };
            // Nothing is read during a write, so silence proves nothing then.
            self.from_keepalive.set_listening(false);
            let written = match next {
                Next::Stop(frame) => {
                    if let Some(frame) = frame {
                        // If it cannot be sent, closing the websocket fails too.
                        let _ = Box::pin(self.to.close(frame)).await;
                    }
                    // The sender of the signal has the reason.
                    return self.ended(End::PeerLeft.into(), None, None);
                }
                Next::Pong(payload) => Box::pin(self.to.pong(payload)).await,
                Next::Ping => {
                    if !self.ping_timer.advance(self.to_keepalive) {
                        let why = lost(!self.from_client, silent());
                        return self.ended(why, None, Some(CloseAction::Gone));
                    }
                    due.as_mut().reset(self.ping_timer.due());
                    Box::pin(self.to.ping()).await
                }
                Next::Event(Ok(Event::Bytes(bytes))) => {
                    let is_turn_over = turn.is_over_after(bytes.len());
                    self.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    let written = self.to.bytes(bytes).await;
                    if self.to.has_waited() {
                        self.from.shrink();
                    }
                    if is_turn_over {
                        tokio::task::yield_now().await;
                    }
                    written
                }
                Next::Event(Ok(Event::Text(text))) if self.pass_text => Box::pin(self.to.text(text)).await,
                Next::Event(Ok(Event::Text(_))) => Ok(()),
                Next::Event(Ok(Event::Close(close))) => {
                    let echo = CloseAction::Echo(code_of(&close));
                    // A host's code is passed on; a client's means nothing to a host.
                    let (why, frame) = if self.from_client {
                        let left = CloseFrame::new(End::PeerLeft, "the client left");
                        (left.clone().into(), left)
                    } else {
                        let why = from_peer(close);
                        let frame = CloseFrame::by_host(&why);
                        (
                            if why.end == End::TargetEnded {
                                Closing { end: frame.end(), ..why }
                            } else {
                                why
                            },
                            frame,
                        )
                    };
                    return Box::pin(self.pass_on(why, echo, frame)).await;
                }
                Next::Event(Ok(Event::Eof)) => {
                    let why = lost(self.from_client, cut_off());
                    return Box::pin(self.pass_on(why, CloseAction::Gone, loss(self.from_client))).await;
                }
                Next::Event(Err(error)) => {
                    let why = lost(self.from_client, error.into());
                    let from = close_action_after(&why);
                    return Box::pin(self.pass_on(why, from, loss(self.from_client))).await;
                }
            };
            if let Err(error) = written {
                let broken = matches!(error, WriteError::Io(_));
                let why = lost(!self.from_client, error.into());
                let to = close_action_after(&why);
                return Ended { broken, ..self.ended(why, None, Some(to)) };
            }
        }
    }

    /// The side that is read has ended, and everything it sent is delivered: closes the other side at once.
    async fn pass_on(&mut self, why: Closing, from: CloseAction, frame: CloseFrame) -> Ended {
        let to = match self.to.close(&frame).await {
            Ok(()) => CloseAction::Send(frame),
            Err(_) => CloseAction::Gone,
        };
        self.ended(why, Some(from), Some(to))
    }

    /// A side without a close action of its own gets a close frame about the other side.
    fn ended(&self, why: Closing, from: Option<CloseAction>, to: Option<CloseAction>) -> Ended {
        let frame = |about_client| match why.end {
            End::PeerLost => loss(about_client),
            end => end.into(),
        };
        let from = from.unwrap_or_else(|| CloseAction::Send(frame(!self.from_client)));
        let to = to.unwrap_or_else(|| CloseAction::Send(frame(self.from_client)));
        Ended { from, to, why, from_client: self.from_client, broken: false }
    }
}

/// The close frame for one side when the other was lost, or closed for a violation.
const fn loss(of_client: bool) -> CloseFrame {
    match of_client {
        true => CloseFrame::new(End::PeerLost, "connection to the client was lost"),
        false => CloseFrame::new(End::PeerLost, End::PeerLost.reason()),
    }
}

/// Adds to the record of a lost connection whose it was.
fn lost(of_client: bool, why: Closing) -> Closing {
    match why.end {
        End::PeerLost => Closing::new(why.end, format!("{}: {}", loss(of_client).words(), why.reason)),
        _ => why,
    }
}
