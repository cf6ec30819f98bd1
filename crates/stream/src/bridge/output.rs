//! The pump from the local output to the peer, which also sends everything else: control messages, pings, pongs.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::local::AtEof;
use super::shared::Shared;
use crate::turn::Turn;
use protocol::control::{FromClient, to_text};
use protocol::end::Closing;
use protocol::failure::Failure;
use websocket::buffer::{self, ReadSize};
use websocket::connection::silent;
use websocket::keepalive::{Keepalive, PingTimer};
use websocket::writer::{FrameWriter, WriteError};

/// How the local output, or the way to the peer, ended.
pub(super) enum OutputEnd {
    /// The local output ended, or the stop signal came.
    Ended,
    Failed(io::Error),
    /// Writing to the peer failed.
    Broken(Closing),
    /// The peer takes no bytes, or does not answer pings.
    Gone(Closing),
}

/// Reads the local output, and writes frames for the peer.
pub(super) struct OutputPump<'a, R, W> {
    pub(super) read_size: ReadSize,
    pub(super) output: R,
    pub(super) at_eof: AtEof,
    pub(super) control: Option<mpsc::Receiver<String>>,
    pub(super) writer: &'a mut FrameWriter<W>,
    pub(super) keepalive: &'a Keepalive,
    pub(super) ping_timer: PingTimer,
    pub(super) shared: &'a Shared,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> OutputPump<'_, R, W> {
    /// Runs until the local output has ended, or nothing more can be sent.
    pub(super) async fn run(
        &mut self,
        final_message: impl Future<Output = Result<Option<String>, Failure>>,
    ) -> OutputEnd {
        match self.pump(final_message).await {
            Ok(()) => OutputEnd::Ended,
            Err(Failed::Local(error)) => OutputEnd::Failed(error),
            Err(Failed::Write(error @ WriteError::Io(_))) => OutputEnd::Broken(error.into()),
            Err(Failed::Write(error)) => OutputEnd::Gone(error.into()),
            Err(Failed::Silent) => OutputEnd::Gone(silent()),
        }
    }

    async fn pump(
        &mut self,
        final_message: impl Future<Output = Result<Option<String>, Failure>>,
    ) -> Result<(), Failed> {
        let mut final_message = pin!(final_message);
        let mut due = pin!(sleep_until(self.ping_timer.due()));
        let mut state = State::Open;
        let mut turn = Turn::default();
        loop {
            let (output, read_size) = (&mut self.output, &mut self.read_size);
            let control = &mut self.control;
            tokio::select! {
                biased;
                _ = self.shared.stop_signal.received() => return Ok(()),
                payload = self.keepalive.next_pong() => Box::pin(self.writer.pong(payload)).await?,
                text = next_control(control) => Box::pin(self.writer.text(text)).await?,
                // Before the output: much of it must not delay the ping.
                () = &mut due => {
                    if !self.ping_timer.advance(self.keepalive) {
                        return Err(Failed::Silent);
                    }
                    due.as_mut().reset(self.ping_timer.due());
                    Box::pin(self.writer.ping()).await?;
                }
                read = async { self.shared.credit.ready().await; buffer::read(output, read_size).await }, if state == State::Open => {
                    match read {
                        Ok((_, 0)) if self.shared.was_reset.load(Ordering::Relaxed) => {
                            return Err(Failed::Local(io::ErrorKind::ConnectionReset.into()));
                        }
                        Ok((_, 0)) => state = match self.at_eof {
                            AtEof::End => State::FinalMessage,
                            AtEof::HalfClose | AtEof::LeaveToPeer => {
                                Box::pin(self.writer.text(to_text(&FromClient::Eof))).await?;
                                State::HalfClosed
                            }
                        },
                        Ok((mut bytes, n)) => {
                            // Before the write: the peer may acknowledge the first half of a frame while the
                            // second is being written.
                            self.shared.credit.sent(n as u64);
                            self.writer.bytes(&mut bytes[..n]).await?;
                            self.shared.to_peer.fetch_add(n as u64, Ordering::Relaxed);
                            if self.writer.has_waited() {
                                self.read_size.shrink();
                            }
                            if turn.is_over_after(n) {
                                drop(bytes);
                                tokio::task::yield_now().await;
                            }
                        }
                        Err(error) => return Err(Failed::Local(error)),
                    }
                },
                message = &mut final_message, if state == State::FinalMessage => {
                    match message {
                        Ok(Some(text)) => Box::pin(self.writer.text(text)).await?,
                        Ok(None) => {}
                        Err(failure) => return Err(Failed::Local(failure.error(failure.words()))),
                    }
                    return Ok(());
                }
                () = self.shared.input_end(), if state == State::HalfClosed && self.at_eof == AtEof::HalfClose => return Ok(()),
            }
        }
    }
}

/// The next control message. Pending forever after the last.
async fn next_control(control: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(receiver) = control {
        if let Some(text) = receiver.recv().await {
            return text;
        }
        *control = None;
    }
    std::future::pending().await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    HalfClosed,
    FinalMessage,
}

enum Failed {
    Local(io::Error),
    Write(WriteError),
    Silent,
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Failed {
        Failed::Write(error)
    }
}
