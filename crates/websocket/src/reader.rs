//! The receiving half of a websocket: frames in, bytes and control messages out. Pings and pongs go to the
//! [`Keepalive`] and are not seen outside.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncRead;

use super::buffer::{self, Buffer, ReadSize};
use super::frame::{FrameError, Role};
use super::keepalive::Keepalive;
use super::parser::{Parser, Step, Violation};
use protocol::end::{Closing, End};
use protocol::profile::Profile;

pub use super::parser::{Sizes, Text};

#[derive(Debug)]
pub enum Event<'a> {
    /// Payload, in order and never empty. A byte stream has no messages, so their borders are not kept.
    Bytes(&'a mut [u8]),
    Text(String),
    /// The peer closes, with its code and reason if it gave one.
    Close(Option<(u16, String)>),
    /// The connection ended without a close frame.
    Eof,
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection failed.
    #[error("{0}")]
    Io(io::Error),
    /// The peer broke RFC 6455.
    #[error("{0}")]
    Frame(FrameError),
    /// A frame or message is larger than [`Sizes`] allows.
    #[error("message is too large")]
    TooLarge,
}

impl From<Violation> for ReadError {
    fn from(violation: Violation) -> ReadError {
        match violation {
            Violation::Frame(error) => ReadError::Frame(error),
            Violation::TooLarge => ReadError::TooLarge,
        }
    }
}

impl From<ReadError> for Closing {
    fn from(error: ReadError) -> Closing {
        match error {
            ReadError::Io(error) => Closing::new(End::PeerLost, format!("connection failed: {error}")),
            ReadError::Frame(FrameError::Utf8) => End::InvalidText.into(),
            ReadError::Frame(error) => Closing::new(End::ProtocolError, error.to_string()),
            ReadError::TooLarge => End::TooLarge.into(),
        }
    }
}

/// The receiving half of a websocket.
#[derive(Debug)]
pub struct FrameReader<R> {
    pub io: R,
    parser: Parser,
    /// Borrowed from the pool only while it holds bytes or is being read into.
    buffer: Option<Buffer>,
    read_size: ReadSize,
    /// The bytes of the buffer that were received and not yet parsed.
    unparsed: Range<usize>,
    /// What [`FrameReader::peek`] saw and [`FrameReader::next`] has not taken yet.
    peeked: Option<Box<Step>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads `early`, which was received together with the handshake, and then from `io`.
    pub fn new(io: R, early: &[u8], role: Role, text: Text, sizes: Sizes) -> FrameReader<R> {
        let buffer = (!early.is_empty()).then(|| Buffer::holding(early));
        FrameReader {
            io,
            parser: Parser::new(role, text, sizes),
            buffer,
            read_size: ReadSize::new(Profile::default()),
            unparsed: 0..early.len(),
            peeked: None,
        }
    }

    /// Reads in pieces of the size that is best for a profile.
    pub fn apply_profile(&mut self, profile: Profile) {
        self.read_size = ReadSize::new(profile);
    }

    /// Reads smaller pieces: writing the last one elsewhere had to wait. See [`ReadSize::shrink`].
    pub fn shrink(&mut self) {
        self.read_size.shrink();
    }

    /// The next thing that the peer sent. Cancel safe.
    ///
    /// # Errors
    /// See [`ReadError`]. After a violation each call returns the same error.
    pub async fn next(&mut self, keepalive: &Keepalive) -> Result<Event<'_>, ReadError> {
        match poll_fn(|cx| self.poll_step(cx, keepalive)).await? {
            Step::Text(text) => Ok(Event::Text(text)),
            Step::Close(close) => Ok(Event::Close(close)),
            // Never given out by `poll_step`.
            Step::Eof | Step::Ping => Ok(Event::Eof),
            Step::Bytes(range) => match &mut self.buffer {
                Some(buffer) => Ok(Event::Bytes(&mut buffer[range])),
                None => Ok(Event::Eof),
            },
        }
    }

    /// Waits until the peer sent something, and leaves it for [`FrameReader::next`]. True: it is the end of the
    /// connection. Cancel safe.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn peek(&mut self, keepalive: &Keepalive) -> Result<bool, ReadError> {
        let step = poll_fn(|cx| self.poll_step(cx, keepalive)).await?;
        let is_end = matches!(step, Step::Close(_) | Step::Eof);
        self.peeked = Some(Box::new(step));
        Ok(is_end)
    }

    /// The control message that [`FrameReader::peek`] saw, if it was one.
    pub fn peeked_text(&self) -> Option<&str> {
        match self.peeked.as_deref() {
            Some(Step::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the peer broke the protocol, so that nothing more is understood.
    pub(super) fn is_broken(&self) -> bool {
        self.parser.violation().is_some()
    }

    /// Reads and drops everything up to the close frame, the end of the connection, or a violation. Cancel safe.
    pub(super) async fn skip(&mut self, keepalive: &Keepalive) {
        while let Ok(Event::Bytes(_) | Event::Text(_)) = self.next(keepalive).await {}
    }

    /// Reads and drops everything up to the close frame or the end of the connection. Cancel safe.
    pub(super) async fn discard(&mut self, keepalive: &Keepalive) {
        self.skip(keepalive).await;
        if self.is_broken() {
            self.drain().await;
        }
    }

    /// Reads and drops all bytes to the end of the connection. If a socket is closed while it has unread bytes, the
    /// kernel resets the connection, and our close frame is lost.
    pub async fn drain(&mut self) {
        while let Ok((_, 1..)) = buffer::read(&mut self.io, &mut self.read_size).await {}
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, keepalive: &Keepalive) -> Poll<Result<Step, ReadError>> {
        if let Some(step) = self.peeked.take() {
            return Poll::Ready(Ok(*step));
        }
        loop {
            match self.parse(keepalive)? {
                None => {}
                Some(Step::Ping) => {
                    // The pong is sent before anything that answers what follows.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(step) => return Poll::Ready(Ok(step)),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Ok(Step::Eof)),
                // TLS without close_notify is a loss, like any end without a close frame.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(Step::Eof));
                }
                Err(error) => return Poll::Ready(Err(ReadError::Io(error))),
                Ok(_) => keepalive.received(),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let kept = self.unparsed.len();
        // What is left over is at most the beginning of a header or of a control frame.
        if let Some(buffer) = &mut self.buffer
            && self.unparsed.start > 0
        {
            buffer.copy_within(self.unparsed.clone(), 0);
        }
        self.unparsed = 0..kept;
        let n = ready!(buffer::poll_read(&mut self.io, &mut self.buffer, kept, &mut self.read_size, cx))?;
        self.unparsed.end += n;
        Poll::Ready(Ok(n))
    }

    fn parse(&mut self, keepalive: &Keepalive) -> Result<Option<Step>, Violation> {
        match (&mut self.buffer, self.parser.violation()) {
            (Some(buffer), _) => self.parser.parse(buffer, &mut self.unparsed, keepalive),
            (None, Some(violation)) => Err(violation),
            (None, None) => Ok(None),
        }
    }
}
