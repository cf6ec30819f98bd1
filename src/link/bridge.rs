//! A websocket linked with something local: what the agent does with a target, and `open` with a port.
//!
//! A websocket has no half-close of its own; between our own ends a control message carries it.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::buffer::{self, Appetite};
use super::credit::Credit;
use super::leg::{Farewell, Halt, Leg, Parting, code_of, cut_off, farewell_after, from_peer, silent};
use super::pair::TURN;
use super::pulse::{Beat, Pulse};
use super::reader::{Event, Reader};
use super::writer::{WriteError, Writer};
use crate::protocol::close::CloseFrame;
use crate::protocol::control::{FromClient, to_text};
use crate::protocol::end::{Closing, End, Outcome};
use crate::protocol::failure::Failure;

/// The local side.
pub struct Local<R, W> {
    /// Bytes for the peer.
    pub output: R,
    /// Where the peer's bytes go; `None` drops them.
    pub input: Option<W>,
    /// What happens when `output` ends.
    pub at_eof: AtEof,
    /// Control messages for the peer, besides those of the end.
    pub notes: Option<mpsc::Receiver<String>>,
}

/// What the end of the local output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEof {
    /// The stream ends, after the last words.
    End,
    /// The peer is told, and the other direction goes on; when that has ended too, the stream ends.
    HalfClose,
    /// The peer is told, and it is the peer who ends the stream.
    LeaveToPeer,
}

/// What a control message meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing for the pumps.
    Nothing,
    /// The peer sends no more bytes.
    Eof,
    /// The peer consumed bytes.
    Ack(u64),
}

/// Moves bytes between a websocket and something local. The peer is still owed its farewell then.
///
/// `hear` reads control messages; `last_words` is awaited when the local output has ended under
/// [`AtEof::End`]: its text is sent before the close, or its failure is the end.
#[allow(clippy::manual_async_fn, reason = "an async fn holds each argument twice, and thousands are idle")]
pub fn bridge<S, R, W>(
    mut leg: Leg<S>,
    local: Local<R, W>,
    hear: impl FnMut(&str) -> Heard,
    last_words: impl Future<Output = Result<Option<String>, Failure>>,
    stop: impl Future<Output = CloseFrame>,
) -> impl Future<Output = (Outcome, Parting<S>)>
where
    S: AsyncRead + AsyncWrite,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    async move {
        let shared = Shared::default();
        let wait = leg.limits.close_wait;
        let (why, farewell) = {
            let mut down = Down {
                reader: &mut leg.reader,
                pulse: &leg.pulse,
                input: local.input,
                hear,
                shared: &shared,
            };
            let mut up = Up {
                appetite: leg.appetite,
                output: local.output,
                at_eof: local.at_eof,
                notes: local.notes,
                writer: &mut leg.writer,
                pulse: &leg.pulse,
                beat: Beat::every(leg.limits.ping_interval),
                shared: &shared,
            };
            let (mut down, mut up) = (pin!(down.run()), pin!(up.run(last_words)));
            let first = tokio::select! {
                why = stop => First::Side((why.clone().into(), Farewell::Say(why))),
                ended = &mut down => First::Side(ended),
                ended = &mut up => First::Up(ended),
            };
            match first {
                First::Side(ended) => {
                    // A close frame can follow only a whole frame.
                    if ended.1 != Farewell::Gone {
                        shared.halt.ask(None);
                        let _ = Box::pin(timeout(wait, up)).await;
                    }
                    ended
                }
                // A peer that takes no more may have said why, and have sent bytes before that.
                First::Up(UpEnd::Broken(why)) => {
                    Box::pin(timeout(wait, down)).await.unwrap_or((why, Farewell::Gone))
                }
                First::Up(UpEnd::Ended) => (End::TargetEnded.into(), Farewell::Say(End::TargetEnded.into())),
                First::Up(UpEnd::Failed(error)) => {
                    let why = Closing::new(End::TargetFailed, error.to_string());
                    (why, Farewell::Say(CloseFrame::failed(Failure::of(&error))))
                }
                First::Up(UpEnd::Gone(why)) => (why, Farewell::Gone),
            }
        };
        let (bytes_in, bytes_out) = (shared.from_peer.into_inner(), shared.to_peer.into_inner());
        (Outcome { bytes_in, bytes_out, closing: why }, Parting { leg, farewell })
    }
}

enum First {
    /// The peer ended, or `stop` said so.
    Side((Closing, Farewell)),
    Up(UpEnd),
}

/// How the way up ended.
enum UpEnd {
    /// The local output ended, or the pump was asked to.
    Ended,
    /// The local output failed.
    Failed(io::Error),
    /// The connection failed.
    Broken(Closing),
    /// The peer is stalled or silent.
    Gone(Closing),
}

#[derive(Default)]
struct Shared {
    halt: Halt,
    from_peer: AtomicU64,
    to_peer: AtomicU64,
    credit: Credit,
    /// The local side reset its connection while it was written to; reading sees only an end then.
    was_reset: AtomicBool,
    input_over: AtomicBool,
    input_end: tokio::sync::Notify,
}

impl Shared {
    /// Nothing more can be written to the local side: the peer has ended, or the local side takes no more.
    fn input_is_over(&self) {
        self.input_over.store(true, Ordering::Relaxed);
        self.input_end.notify_one();
    }

    async fn input_end(&self) {
        while !self.input_over.load(Ordering::Relaxed) {
            self.input_end.notified().await;
        }
    }
}

/// From the peer to the local input.
struct Down<'a, R, W, H> {
    reader: &'a mut Reader<R>,
    pulse: &'a Pulse,
    input: Option<W>,
    hear: H,
    shared: &'a Shared,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin, H: FnMut(&str) -> Heard> Down<'_, R, W, H> {
    /// Until the peer ends the websocket.
    async fn run(&mut self) -> (Closing, Farewell) {
        let mut turn = 0;
        loop {
            self.pulse.listening(true);
            let event = self.reader.next(self.pulse).await;
            self.pulse.listening(false);
            match event {
                Ok(Event::Bytes(bytes)) => {
                    self.shared.from_peer.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    if let Some(writable) = &mut self.input {
                        // What takes no more input may still have output to deliver: that decides the end.
                        let written = async { writable.write_all(bytes).await.and(writable.flush().await) };
                        if let Err(error) = written.await {
                            let was_reset = error.kind() == io::ErrorKind::ConnectionReset;
                            self.shared.was_reset.fetch_or(was_reset, Ordering::Relaxed);
                            self.input = None;
                            self.shared.input_is_over();
                        }
                    }
                    turn += bytes.len();
                    if turn >= TURN {
                        turn = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Event::Text(text)) => match (self.hear)(&text) {
                    Heard::Nothing => {}
                    Heard::Ack(bytes) => self.shared.credit.acknowledged(bytes),
                    Heard::Eof => {
                        if let Some(mut writable) = self.input.take() {
                            // It may be gone already; then there is nothing left to tell it.
                            let _ = writable.shutdown().await;
                        }
                        self.shared.input_is_over();
                    }
                },
                Ok(Event::Close(close)) => {
                    let echo = Farewell::Echo(code_of(&close));
                    return (from_peer(close), echo);
                }
                Ok(Event::Eof) => return (cut_off(), Farewell::Gone),
                Err(error) => {
                    let why: Closing = error.into();
                    let farewell = farewell_after(&why);
                    return (why, farewell);
                }
            }
        }
    }
}

struct Up<'a, R, W> {
    appetite: Appetite,
    output: R,
    at_eof: AtEof,
    notes: Option<mpsc::Receiver<String>>,
    writer: &'a mut Writer<W>,
    pulse: &'a Pulse,
    beat: Beat,
    shared: &'a Shared,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Up<'_, R, W> {
    /// From the local output to the peer, and everything else that has to be sent.
    async fn run(&mut self, last_words: impl Future<Output = Result<Option<String>, Failure>>) -> UpEnd {
        match self.pump(last_words).await {
            Ok(()) => UpEnd::Ended,
            Err(Failed::Local(error)) => UpEnd::Failed(error),
            Err(Failed::Write(error @ WriteError::Io(_))) => UpEnd::Broken(error.into()),
            Err(Failed::Write(error)) => UpEnd::Gone(error.into()),
            Err(Failed::Silent) => UpEnd::Gone(silent()),
        }
    }

    async fn pump(
        &mut self,
        last_words: impl Future<Output = Result<Option<String>, Failure>>,
    ) -> Result<(), Failed> {
        let mut last_words = pin!(last_words);
        let mut due = pin!(sleep_until(self.beat.due()));
        let mut state = State::Open;
        let mut turn = 0;
        loop {
            let (output, appetite) = (&mut self.output, &mut self.appetite);
            let notes = &mut self.notes;
            tokio::select! {
                biased;
                _ = self.shared.halt.asked() => return Ok(()),
                payload = self.pulse.owed() => Box::pin(self.writer.pong(payload)).await?,
                note = next_note(notes) => Box::pin(self.writer.text(note)).await?,
                // Before the output: a flood of it must not keep the ping from going out.
                () = &mut due => {
                    if !self.pulse.beat() {
                        return Err(Failed::Silent);
                    }
                    self.beat.sent();
                    due.as_mut().reset(self.beat.due());
                    Box::pin(self.writer.ping()).await?;
                }
                read = async { self.shared.credit.ready().await; buffer::read(output, appetite).await }, if state == State::Open => {
                    match read {
                        Ok((_, 0)) if self.shared.was_reset.load(Ordering::Relaxed) => {
                            return Err(Failed::Local(io::ErrorKind::ConnectionReset.into()));
                        }
                        Ok((_, 0)) => state = match self.at_eof {
                            AtEof::End => State::LastWords,
                            AtEof::HalfClose | AtEof::LeaveToPeer => {
                                Box::pin(self.writer.text(to_text(&FromClient::Eof))).await?;
                                State::HalfClosed
                            }
                        },
                        Ok((mut bytes, n)) => {
                            // Before it is written: the peer may acknowledge the first half of a frame
                            // while we write the second.
                            self.shared.credit.sent(n as u64);
                            self.writer.bytes(&mut bytes[..n]).await?;
                            self.shared.to_peer.fetch_add(n as u64, Ordering::Relaxed);
                            if self.writer.has_waited() {
                                self.appetite.spoilt();
                            }
                            turn += n;
                            if turn >= TURN {
                                turn = 0;
                                drop(bytes);
                                tokio::task::yield_now().await;
                            }
                        }
                        Err(error) => return Err(Failed::Local(error)),
                    }
                },
                words = &mut last_words, if state == State::LastWords => {
                    match words {
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

/// The next control message; never, when there are none to come.
async fn next_note(notes: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(receiver) = notes {
        if let Some(note) = receiver.recv().await {
            return note;
        }
        *notes = None;
    }
    std::future::pending().await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    HalfClosed,
    LastWords,
}

enum Failed {
    /// The local output.
    Local(io::Error),
    Write(WriteError),
    Silent,
}

impl From<WriteError> for Failed {
    fn from(error: WriteError) -> Failed {
        Failed::Write(error)
    }
}
