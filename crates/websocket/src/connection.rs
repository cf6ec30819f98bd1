//! One websocket of a stream: its two halves, its keepalive, waiting on it, and closing it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::{sleep_until, timeout};

use super::buffer::ReadSize;
use super::frame::Role;
use super::keepalive::{Keepalive, PingTimer};
use super::reader::{Event, FrameReader, Sizes, Text};
use super::writer::{FrameWriter, WriteError};
use net::socket::Socket;
use protocol::close::CloseFrame;
use protocol::end::{Closing, End};
use protocol::profile::Profile;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest frame and message that the peer may send.
    pub sizes: Sizes,
    /// How long a peer may take no byte while a frame is being sent.
    pub write_stall: Duration,
    /// Longest time between two pings.
    pub ping_interval: Duration,
    /// How long a peer may take to answer a close frame, which includes reading what was sent before it.
    pub close_wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sizes: Sizes { frame: 1 << 20, message: 4 << 20 },
            write_stall: Duration::from_secs(30),
            ping_interval: super::keepalive::DEFAULT_INTERVAL,
            close_wait: Duration::from_secs(30),
        }
    }
}

#[derive(Debug)]
pub struct WebSocket<S> {
    pub reader: FrameReader<ReadHalf<S>>,
    pub writer: FrameWriter<WriteHalf<S>>,
    /// Its pings, and whether the peer answers them.
    pub keepalive: Keepalive,
    /// What the peer may send, and how long it may take.
    pub limits: Limits,
    /// How much is read at once from the local side that the websocket is linked with, if it is.
    pub read_size: ReadSize,
}

/// How waiting on an idle websocket ended.
#[derive(Debug)]
pub enum IdleEnd<T> {
    Done(T),
    /// The peer sent a control message.
    Text(String),
    /// The websocket ended: why, and how to close it.
    Lost(Closing, CloseAction),
}

/// How to close a websocket towards its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseAction {
    /// Send this close frame, and wait for the answer.
    Send(CloseFrame),
    /// The peer sent a close frame, with this code if any: answer with the same.
    Echo(Option<u16>),
    /// The connection is gone: drop it.
    Gone,
}

/// A websocket whose stream has ended, and how to close it. A peer may take long to answer, so free what the stream
/// holds before that.
#[must_use = "the peer waits for its close frame"]
pub struct EndedWebSocket<S> {
    /// The websocket, which is still open.
    pub websocket: WebSocket<S>,
    pub close_action: CloseAction,
}

impl<S: AsyncRead + AsyncWrite> EndedWebSocket<S> {
    /// Whether the connection is gone, so that no close frame can be sent.
    pub fn is_lost(&self) -> bool {
        self.close_action == CloseAction::Gone
    }

    /// Closes the websocket; see [`WebSocket::finish`].
    pub async fn close(self) {
        self.websocket.finish(self.close_action).await;
    }
}

impl<S: AsyncRead + AsyncWrite> WebSocket<S> {
    /// A websocket after its handshake; `early` was received together with the handshake.
    pub fn new(socket: S, early: &[u8], role: Role, text: Text, limits: Limits) -> WebSocket<S> {
        let (read, write) = tokio::io::split(socket);
        WebSocket {
            reader: FrameReader::new(read, early, role, text, limits.sizes),
            writer: FrameWriter::new(write, role, limits.write_stall),
            keepalive: Keepalive::default(),
            limits,
            read_size: ReadSize::new(Profile::default()),
        }
    }

    /// Keeps the websocket alive until `done` resolves, a control message comes, or the websocket ends. Payload bytes
    /// end it with [`End::ProtocolError`].
    pub async fn wait_idle<T>(&mut self, done: impl Future<Output = T>) -> IdleEnd<T> {
        let mut done = pin!(done);
        let mut ping_timer = PingTimer::new(self.limits.ping_interval);
        loop {
            self.keepalive.set_listening(true);
            let written = tokio::select! {
                biased;
                value = &mut done => return IdleEnd::Done(value),
                payload = self.keepalive.next_pong() => self.writer.pong(payload).await,
                event = self.reader.next(&self.keepalive) => return match event {
                    Ok(Event::Text(text)) => IdleEnd::Text(text),
                    Ok(Event::Bytes(_)) => {
                        let why = CloseFrame::new(End::ProtocolError, "bytes before the streams were linked");
                        IdleEnd::Lost(why.clone().into(), CloseAction::Send(why))
                    }
                    Ok(Event::Close(close)) => {
                        let echo = CloseAction::Echo(code_of(&close));
                        IdleEnd::Lost(from_peer(close), echo)
                    }
                    Ok(Event::Eof) => lost(cut_off()),
                    Err(error) => lost(error.into()),
                },
                () = sleep_until(ping_timer.due()) => {
                    if !ping_timer.advance(&self.keepalive) {
                        return lost(silent());
                    }
                    self.writer.ping().await
                }
            };
            if let Err(error) = written {
                return lost(error.into());
            }
        }
    }

    /// Waits for `done`, or until the peer leaves. What the peer sends meanwhile stays for later; after its first
    /// frame it is not read, so that it has to wait.
    ///
    /// # Errors
    /// How the peer left, and how to close the websocket.
    pub async fn wait_unread<T>(
        &mut self,
        done: impl Future<Output = T>,
    ) -> Result<T, (Closing, CloseAction)> {
        let mut done = pin!(done);
        let mut ping_timer = PingTimer::new(self.limits.ping_interval);
        let mut has_sent = false;
        loop {
            self.keepalive.set_listening(!has_sent);
            let written = tokio::select! {
                biased;
                value = &mut done => return Ok(value),
                payload = self.keepalive.next_pong() => self.writer.pong(payload).await,
                peeked = self.reader.peek(&self.keepalive), if !has_sent => match peeked {
                    Ok(false) => { has_sent = true; Ok(()) }
                    Ok(true) => {
                        // What `peek` saw is still there.
                        return Err(match self.reader.next(&self.keepalive).await {
                            Ok(Event::Close(close)) => {
                                (End::PeerLeft.into(), CloseAction::Echo(code_of(&close)))
                            }
                            _ => (cut_off(), CloseAction::Gone),
                        });
                    }
                    Err(error) => {
                        let closing: Closing = error.into();
                        let close_action = close_action_after(&closing);
                        return Err((closing, close_action));
                    }
                },
                () = sleep_until(ping_timer.due()) => {
                    if !ping_timer.advance(&self.keepalive) {
                        return Err((silent(), CloseAction::Gone));
                    }
                    self.writer.ping().await
                }
            };
            if let Err(error) = written {
                return Err((error.into(), CloseAction::Gone));
            }
        }
    }

    /// Waits up to `patience` for what the peer sends first. A control message is returned, and stays for the reader.
    ///
    /// # Errors
    /// How the connection failed, and how to close it.
    pub async fn peek_text(&mut self, patience: Duration) -> Result<Option<&str>, (Closing, CloseAction)> {
        self.keepalive.set_listening(true);
        if let Ok(Err(error)) = timeout(patience, self.reader.peek(&self.keepalive)).await {
            let closing: Closing = error.into();
            let close_action = close_action_after(&closing);
            return Err((closing, close_action));
        }
        Ok(self.reader.peeked_text())
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// The [`Closing`] for the failed write.
    pub async fn send_text(&mut self, text: String) -> Result<(), Closing> {
        self.writer.text(text).await.map_err(Closing::from)
    }

    /// [`WebSocket::finish`] with `limit` for the close frame and for its answer: for a peer that has nothing else
    /// to read.
    pub async fn finish_within(mut self, close_action: CloseAction, limit: Duration) {
        self.limits.close_wait = self.limits.close_wait.min(limit);
        // Twice: sending the close frame may take as long as waiting for the answer.
        let _ = timeout(limit * 2, self.finish(close_action)).await;
    }

    /// Closes the websocket: sends the close frame, waits up to [`Limits::close_wait`] for the answer, and closes the
    /// connection.
    pub async fn finish(mut self, close_action: CloseAction) {
        match close_action {
            CloseAction::Gone => return,
            CloseAction::Echo(code) => {
                if self.writer.echo(code).await.is_err() {
                    return;
                }
            }
            CloseAction::Send(_) if self.writer.is_torn() => return,
            CloseAction::Send(closing) => {
                if self.send_close(&closing).await.is_err() {
                    return;
                }
            }
        }
        self.writer.shutdown().await;
    }

    /// Sends the close frame, and waits for the answer.
    async fn send_close(&mut self, closing: &CloseFrame) -> Result<(), WriteError> {
        let WebSocket { reader, writer, keepalive, limits, .. } = self;
        // What the peer still sends is read and dropped: closing a socket that has unread bytes resets the connection,
        // and the peer may lose what it has not read yet. Already read during the write: the peer may read only after
        // it has written its own close frame.
        let mut is_over = false;
        {
            let mut closed = pin!(writer.close(closing));
            loop {
                tokio::select! {
                    closed = &mut closed => break closed?,
                    () = reader.discard(keepalive), if !is_over => is_over = true,
                }
            }
        }
        if is_over {
            return Ok(());
        }
        let answered = async {
            reader.skip(keepalive).await;
            if reader.is_broken() {
                // The answer of a peer that broke the protocol cannot be parsed. It may wait for the end of the
                // connection, so our direction is closed (RFC 6455 section 7.1.7).
                writer.shutdown().await;
                reader.drain().await;
            }
        };
        // After a timeout the connection is closed all the same.
        let _ = timeout(limits.close_wait, answered).await;
        Ok(())
    }
}

impl WebSocket<Socket> {
    /// Sets buffers and read sizes for a stream of this profile.
    pub fn apply_profile(mut self, profile: Profile) -> WebSocket<Socket> {
        let socket = self.reader.io.unsplit(self.writer.io);
        socket.apply_profile(profile);
        // A linked peer has shown a token: pings and `write_stall` decide when it is lost.
        socket.give_up_after(None);
        (self.reader.io, self.writer.io) = tokio::io::split(socket);
        self.reader.apply_profile(profile);
        self.read_size = ReadSize::new(profile);
        self
    }
}

/// Why a websocket ends whose peer does not answer pings.
pub fn silent() -> Closing {
    Closing::new(End::PeerLost, "silent: two pings went unanswered")
}

/// Why a websocket ends whose connection ends without a close frame.
pub fn cut_off() -> Closing {
    Closing::new(End::PeerLost, "connection ended without a close frame")
}

/// The code of a received close frame, if it has one.
pub fn code_of(close: &Option<(u16, String)>) -> Option<u16> {
    close.as_ref().map(|(code, _)| *code)
}

/// The end that a received close frame stands for.
pub fn from_peer(close: Option<(u16, String)>) -> Closing {
    match close {
        None => End::PeerLeft.into(),
        Some((code, reason)) => match End::from_code(code) {
            Some(end) if reason.is_empty() => end.into(),
            Some(end) => Closing::new(end, reason),
            None => Closing::new(End::PeerLeft, format!("the other side closed with {code} {reason}")),
        },
    }
}

fn lost<T>(closing: Closing) -> IdleEnd<T> {
    let close_action = close_action_after(&closing);
    IdleEnd::Lost(closing, close_action)
}

/// Stops a pump between two frames, so that a close frame can follow.
///
/// It wakes no task: it is set by the task that polls the pumps.
#[derive(Debug, Default)]
pub struct StopSignal(OnceLock<Option<CloseFrame>>);

impl StopSignal {
    /// Stops the pump. If there is a `frame`, the pump sends it first. Only the first call counts.
    pub fn send(&self, frame: Option<&CloseFrame>) {
        // Fails if it is set already.
        let _ = self.0.set(frame.cloned());
    }

    /// Waits until the pump must stop; returns the close frame that it must send.
    pub async fn received(&self) -> Option<&CloseFrame> {
        poll_fn(|_| self.0.get().map_or(Poll::Pending, |frame| Poll::Ready(frame.as_ref()))).await
    }
}

/// How to close a websocket after an error on it.
pub fn close_action_after(closing: &Closing) -> CloseAction {
    match closing.end {
        End::PeerLeft | End::PeerLost | End::Stalled => CloseAction::Gone,
        // The frame has the standard text of the end: `closing.reason` is for the record only.
        end => CloseAction::Send(end.into()),
    }
}
