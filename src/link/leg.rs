//! One websocket of a stream: its two halves, its pulse, and how it is held and ended.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::{sleep_until, timeout};

use super::buffer::Appetite;
use super::frame::Role;
use super::pulse::{Beat, Pulse};
use super::reader::{Event, Reader, Sizes, Text};
use super::socket::Socket;
use super::writer::Writer;
use crate::protocol::close::CloseFrame;
use crate::protocol::end::{Closing, End};
use crate::protocol::profile::Profile;

/// Bounds of one websocket.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest frame and message that are accepted.
    pub sizes: Sizes,
    /// How long a peer may take no byte while we have some for it.
    pub write_stall: Duration,
    /// Time between pings.
    pub ping_interval: Duration,
    /// How long a peer may take to read what was sent before the close, and to answer it.
    pub close_wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sizes: Sizes { frame: 1 << 20, message: 4 << 20 },
            write_stall: Duration::from_secs(30),
            ping_interval: super::pulse::DEFAULT_INTERVAL,
            close_wait: Duration::from_secs(30),
        }
    }
}

/// One websocket.
#[derive(Debug)]
pub struct Leg<S> {
    pub(super) reader: Reader<ReadHalf<S>>,
    pub(super) writer: Writer<WriteHalf<S>>,
    pub(super) pulse: Pulse,
    pub(super) limits: Limits,
    /// Of what this leg is linked with, where that is something local.
    pub(super) appetite: Appetite,
}

/// How holding a leg ended.
#[derive(Debug)]
pub enum Held<T> {
    /// What was waited for happened.
    Done(T),
    /// The peer sent a control message.
    Text(String),
    /// The leg is of no use any more.
    Lost(Closing, Farewell),
}

/// How to take leave of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It does not know yet: say why, and wait for its answer.
    Say(CloseFrame),
    /// It said so itself, with this code if it gave one: answer with the same.
    Echo(Option<u16>),
    /// It is gone.
    Gone,
}

/// A leg whose stream has ended, and the farewell that its peer is still owed. What the stream held can be
/// let go first: a peer may take its time to answer.
#[must_use = "the peer waits for its farewell"]
pub struct Parting<S> {
    pub(super) leg: Leg<S>,
    pub(super) farewell: Farewell,
}

impl<S: AsyncRead + AsyncWrite> Parting<S> {
    /// Whether the connection broke, so that nothing can be said any more. Else the peer closed it, or will be told.
    pub fn is_lost(&self) -> bool {
        self.farewell == Farewell::Gone
    }

    /// Ends the websocket; see [`Leg::finish`].
    pub async fn take_leave(self) {
        self.leg.finish(self.farewell).await;
    }
}

impl<S: AsyncRead + AsyncWrite> Leg<S> {
    /// A websocket after its handshake; `early` came in together with the handshake.
    pub fn new(socket: S, early: &[u8], role: Role, text: Text, limits: Limits) -> Leg<S> {
        let (read, write) = tokio::io::split(socket);
        Leg {
            reader: Reader::new(read, early, role, text, limits.sizes),
            writer: Writer::new(write, role, limits.write_stall),
            pulse: Pulse::default(),
            limits,
            appetite: Appetite::of(Profile::default()),
        }
    }

    /// Keeps the leg alive until `done`, or a control message, or its end. Bytes are an error here.
    pub async fn hold<T>(&mut self, done: impl Future<Output = T>) -> Held<T> {
        let mut done = pin!(done);
        let mut beat = Beat::every(self.limits.ping_interval);
        loop {
            self.pulse.listening(true);
            let written = tokio::select! {
                biased;
                value = &mut done => return Held::Done(value),
                payload = self.pulse.owed() => self.writer.pong(payload).await,
                event = self.reader.next(&self.pulse) => return match event {
                    Ok(Event::Text(text)) => Held::Text(text),
                    Ok(Event::Bytes(_)) => {
                        let why = CloseFrame::new(End::ProtocolError, "bytes before the streams were linked");
                        Held::Lost(why.clone().into(), Farewell::Say(why))
                    }
                    Ok(Event::Close(close)) => {
                        let echo = Farewell::Echo(code_of(&close));
                        Held::Lost(from_peer(close), echo)
                    }
                    Ok(Event::Eof) => lost(cut_off()),
                    Err(error) => lost(error.into()),
                },
                () = sleep_until(beat.due()) => {
                    if !self.pulse.beat() {
                        return lost(silent());
                    }
                    beat.sent();
                    self.writer.ping().await
                }
            };
            if let Err(error) = written {
                return lost(error.into());
            }
        }
    }

    /// Waits for `done` and notices when the peer leaves. What the peer says meanwhile is not taken:
    /// it comes after, and a peer that says much is asked to wait by not being read.
    ///
    /// # Errors
    /// How the peer left, and what to answer.
    pub async fn attend<T>(&mut self, done: impl Future<Output = T>) -> Result<T, (Closing, Farewell)> {
        let mut done = pin!(done);
        let mut beat = Beat::every(self.limits.ping_interval);
        let mut has_spoken = false;
        loop {
            self.pulse.listening(!has_spoken);
            let written = tokio::select! {
                biased;
                value = &mut done => return Ok(value),
                payload = self.pulse.owed() => self.writer.pong(payload).await,
                peeked = self.reader.peek(&self.pulse), if !has_spoken => match peeked {
                    Ok(false) => { has_spoken = true; Ok(()) }
                    Ok(true) => {
                        // What was seen is still there to be taken.
                        return Err(match self.reader.next(&self.pulse).await {
                            Ok(Event::Close(close)) => {
                                (End::PeerLeft.into(), Farewell::Echo(code_of(&close)))
                            }
                            _ => (cut_off(), Farewell::Gone),
                        });
                    }
                    Err(error) => {
                        let closing: Closing = error.into();
                        let farewell = farewell_after(&closing);
                        return Err((closing, farewell));
                    }
                },
                () = sleep_until(beat.due()) => {
                    if !self.pulse.beat() {
                        return Err((silent(), Farewell::Gone));
                    }
                    beat.sent();
                    self.writer.ping().await
                }
            };
            if let Err(error) = written {
                return Err((error.into(), Farewell::Gone));
            }
        }
    }

    /// Looks for so long at what the peer says first. A control message is returned, and is still there to be taken.
    ///
    /// # Errors
    /// How the connection failed, and what to answer.
    pub async fn glance(&mut self, patience: Duration) -> Result<Option<&str>, (Closing, Farewell)> {
        self.pulse.listening(true);
        if let Ok(Err(error)) = timeout(patience, self.reader.peek(&self.pulse)).await {
            let closing: Closing = error.into();
            let farewell = farewell_after(&closing);
            return Err((closing, farewell));
        }
        Ok(self.reader.peeked_text())
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// The closing that stands for a failed write.
    pub async fn say(&mut self, text: String) -> Result<(), Closing> {
        self.writer.text(text).await.map_err(Closing::from)
    }

    /// The same as [`Leg::finish`] within `limit`, for a peer to whom nothing was sent that it may still be reading.
    pub async fn finish_within(mut self, farewell: Farewell, limit: Duration) {
        self.limits.close_wait = self.limits.close_wait.min(limit);
        // Twice: the farewell itself may not be taken either.
        let _ = timeout(limit * 2, self.finish(farewell)).await;
    }

    /// Ends the websocket: close frame, the peer's answer within bounds, then the connection.
    pub async fn finish(mut self, farewell: Farewell) {
        match farewell {
            Farewell::Gone => return,
            Farewell::Echo(code) => {
                if self.writer.echo(code).await.is_err() {
                    return;
                }
            }
            Farewell::Say(_) if self.writer.is_torn() => return,
            Farewell::Say(closing) => {
                // What the peer still sends is read and dropped: closing a socket with unread bytes
                // in it would reset the connection and could destroy what the peer has not read yet.
                // Read from the beginning: it may be writing its own close, and read after that.
                let (reader, pulse) = (&mut self.reader, &self.pulse);
                let mut drained = pin!(async {
                    loop {
                        match reader.next(pulse).await {
                            Ok(Event::Bytes(_) | Event::Text(_)) => {}
                            Ok(Event::Close(_) | Event::Eof) => return,
                            Err(_) => return reader.drain().await,
                        }
                    }
                });
                let mut closed = pin!(self.writer.close(&closing));
                let closed = tokio::select! {
                    closed = &mut closed => {
                        if closed.is_ok() {
                            let _ = timeout(self.limits.close_wait, drained).await;
                        }
                        closed
                    }
                    () = &mut drained => closed.await,
                };
                if closed.is_err() {
                    return;
                }
            }
        }
        self.writer.shutdown().await;
    }
}

impl Leg<Socket> {
    /// Makes the leg fit for a stream of this profile.
    pub fn suit(mut self, profile: Profile) -> Leg<Socket> {
        let socket = self.reader.io.unsplit(self.writer.io);
        socket.suit(profile);
        // Whoever is linked has shown a token: its pings and `write_stall` say when it is lost.
        socket.give_up_after(None);
        (self.reader.io, self.writer.io) = tokio::io::split(socket);
        self.reader.suit(profile);
        self.appetite = Appetite::of(profile);
        self
    }
}

/// The end of a peer that does not answer pings.
pub(super) fn silent() -> Closing {
    Closing::new(End::PeerLost, "silent: two pings went unanswered")
}

/// The end of a connection that no close frame announced.
pub(super) fn cut_off() -> Closing {
    Closing::new(End::PeerLost, "connection ended without a close frame")
}

/// The code of a close frame.
pub(super) fn code_of(close: &Option<(u16, String)>) -> Option<u16> {
    close.as_ref().map(|(code, _)| *code)
}

/// The end that a peer's close frame stands for.
pub(super) fn from_peer(close: Option<(u16, String)>) -> Closing {
    match close {
        None => End::PeerLeft.into(),
        Some((code, reason)) => match End::from_code(code) {
            Some(end) if reason.is_empty() => end.into(),
            Some(end) => Closing::new(end, reason),
            None => Closing::new(End::PeerLeft, format!("the other side closed with {code} {reason}")),
        },
    }
}

fn lost<T>(closing: Closing) -> Held<T> {
    let farewell = farewell_after(&closing);
    Held::Lost(closing, farewell)
}

/// Asks a pump to end between two frames, so that a close frame can still follow.
///
/// It wakes nobody: pumps are polled by the same task that asks them.
#[derive(Debug, Default)]
pub(super) struct Halt(OnceLock<Option<CloseFrame>>);

impl Halt {
    /// With a close frame, the pump itself sends it, at its first chance.
    pub(super) fn ask(&self, frame: Option<&CloseFrame>) {
        // Who asked first decides.
        let _ = self.0.set(frame.cloned());
    }

    pub(super) async fn asked(&self) -> Option<&CloseFrame> {
        poll_fn(|_| self.0.get().map_or(Poll::Pending, |frame| Poll::Ready(frame.as_ref()))).await
    }
}

/// What a peer is told after an error on its own leg.
pub(super) fn farewell_after(closing: &Closing) -> Farewell {
    match closing.end {
        End::PeerLeft | End::PeerLost | End::Stalled => Farewell::Gone,
        // What it did wrong is in the words of this program.
        end => Farewell::Say(end.into()),
    }
}
