//! The pump from the peer to the local input.

use std::io;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::local::ControlEffect;
use super::shared::Shared;
use crate::turn::Turn;
use protocol::end::Closing;
use websocket::connection::{CloseAction, close_action_after, code_of, cut_off, from_peer};
use websocket::keepalive::Keepalive;
use websocket::reader::{Event, FrameReader};

/// Reads the peer's frames, and writes their payload to the local input.
pub(super) struct InputPump<'a, R, W, H> {
    pub(super) reader: &'a mut FrameReader<R>,
    pub(super) keepalive: &'a Keepalive,
    pub(super) input: Option<W>,
    pub(super) on_control: H,
    pub(super) shared: &'a Shared,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin, H: FnMut(&str) -> ControlEffect> InputPump<'_, R, W, H> {
    /// Runs until the peer ends the websocket: why, and how to close it.
    pub(super) async fn run(&mut self) -> (Closing, CloseAction) {
        let mut turn = Turn::default();
        loop {
            self.keepalive.set_listening(true);
            let event = self.reader.next(self.keepalive).await;
            self.keepalive.set_listening(false);
            match event {
                Ok(Event::Bytes(bytes)) => {
                    self.shared.from_peer.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    if let Some(writable) = &mut self.input {
                        // A local side that takes no more input may still have output, which decides the end.
                        let written = async { writable.write_all(bytes).await.and(writable.flush().await) };
                        if let Err(error) = written.await {
                            let was_reset = error.kind() == io::ErrorKind::ConnectionReset;
                            self.shared.was_reset.fetch_or(was_reset, Ordering::Relaxed);
                            self.input = None;
                            self.shared.input_is_over();
                        }
                    }
                    if turn.is_over_after(bytes.len()) {
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Event::Text(text)) => match (self.on_control)(&text) {
                    ControlEffect::None => {}
                    ControlEffect::Ack(bytes) => self.shared.credit.acknowledged(bytes),
                    ControlEffect::Eof => {
                        if let Some(mut writable) = self.input.take() {
                            // Fails if the local side has gone already, which changes nothing.
                            let _ = writable.shutdown().await;
                        }
                        self.shared.input_is_over();
                    }
                },
                Ok(Event::Close(close)) => {
                    let echo = CloseAction::Echo(code_of(&close));
                    return (from_peer(close), echo);
                }
                Ok(Event::Eof) => return (cut_off(), CloseAction::Gone),
                Err(error) => {
                    let why: Closing = error.into();
                    let close_action = close_action_after(&why);
                    return (why, close_action);
                }
            }
        }
    }
}
