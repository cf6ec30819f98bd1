//! The receiving half of a websocket: frames in, bytes and control messages out.
//!
//! Payload is unmasked in place and handed on as it arrives, so a frame may be larger than any
//! buffer and a message is never held. Pings and pongs go to the [`Pulse`] and are not seen outside.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncRead;

use super::buffer::{self, Appetite, Buffer};
use super::frame::{self, FrameError, Header, Opcode, Role};
use super::pulse::Pulse;
use crate::protocol::control::MAX_CONTROL;
use crate::protocol::end::{Closing, End};
use crate::protocol::profile::Profile;

/// What text messages are on this websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Bytes like any other: clients that do not speak `stream.v1`.
    Bytes,
    /// Control messages.
    Messages,
}

/// What came in.
#[derive(Debug)]
pub enum Event<'a> {
    /// Payload, in order; never empty. Messages and their borders do not matter in a byte stream.
    Bytes(&'a mut [u8]),
    /// A whole control message.
    Text(String),
    /// The peer closes, with its code and reason if it gave one.
    Close(Option<(u16, String)>),
    /// The connection ended without a close frame.
    Eof,
}

/// Why reading cannot go on.
#[derive(Debug)]
pub enum ReadError {
    /// The connection failed.
    Io(io::Error),
    /// The peer broke RFC 6455.
    Frame(FrameError),
    /// A frame or message is over its limit.
    TooLarge,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => error.fmt(f),
            ReadError::Frame(error) => error.fmt(f),
            ReadError::TooLarge => f.write_str("message is too large"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<FrameError> for ReadError {
    fn from(error: FrameError) -> ReadError {
        ReadError::Frame(error)
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

/// The largest frame and message that are accepted, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Payload of one frame.
    pub frame: u64,
    /// Payload of all frames of a message.
    pub message: u64,
}

/// The receiving half.
#[derive(Debug)]
pub struct Reader<R> {
    pub(super) io: R,
    role: Role,
    text: Text,
    sizes: Sizes,
    /// Lent only while something is in it or being read.
    buffer: Option<Buffer>,
    appetite: Appetite,
    /// Received and not yet parsed.
    raw: Range<usize>,
    message: Option<Message>,
    payload: Option<Payload>,
    /// A control message that is not complete yet.
    note: Vec<u8>,
    /// What [`Reader::peek`] saw and [`Reader::next`] has not taken yet.
    ahead: Option<Box<Step>>,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    len: u64,
}

#[derive(Debug)]
struct Payload {
    left: u64,
    mask: Option<[u8; 4]>,
    phase: usize,
    fin: bool,
}

#[derive(Debug)]
enum Step {
    /// A ping: whoever writes has the next turn.
    Asked,
    Bytes(Range<usize>),
    Text(String),
    Close(Option<(u16, String)>),
    Eof,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `io`, after what was received together with the handshake.
    pub fn new(io: R, early: &[u8], role: Role, text: Text, sizes: Sizes) -> Reader<R> {
        let buffer = (!early.is_empty()).then(|| Buffer::holding(early));
        Reader {
            io,
            role,
            text,
            sizes,
            buffer,
            appetite: Appetite::of(Profile::default()),
            raw: 0..early.len(),
            message: None,
            payload: None,
            note: vec![],
            ahead: None,
        }
    }

    /// Reads in pieces that suit a profile.
    pub fn suit(&mut self, profile: Profile) {
        self.appetite = Appetite::of(profile);
    }

    /// What was read last had to wait until it could be written elsewhere.
    pub fn spoilt(&mut self) {
        self.appetite.spoilt();
    }

    /// The next thing that came in. Safe to drop and call again.
    ///
    /// # Errors
    /// See [`ReadError`]; the reader is of no use after one.
    pub async fn next(&mut self, pulse: &Pulse) -> Result<Event<'_>, ReadError> {
        match poll_fn(|cx| self.poll_step(cx, pulse)).await? {
            Step::Text(text) => Ok(Event::Text(text)),
            Step::Close(close) => Ok(Event::Close(close)),
            // Never given out by `poll_step`.
            Step::Eof | Step::Asked => Ok(Event::Eof),
            Step::Bytes(range) => match &mut self.buffer {
                Some(buffer) => Ok(Event::Bytes(&mut buffer[range])),
                None => Ok(Event::Eof),
            },
        }
    }

    /// Waits until something came in, and leaves it there. True: it is the end of the connection.
    /// Safe to drop and call again.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn peek(&mut self, pulse: &Pulse) -> Result<bool, ReadError> {
        let step = poll_fn(|cx| self.poll_step(cx, pulse)).await?;
        let is_end = matches!(step, Step::Close(_) | Step::Eof);
        self.ahead = Some(Box::new(step));
        Ok(is_end)
    }

    /// The control message that [`Reader::peek`] saw, if it was one.
    pub fn peeked_text(&self) -> Option<&str> {
        match self.ahead.as_deref() {
            Some(Step::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Reads and drops whatever comes, to the end of the connection: after an error, what was not
    /// understood must still be taken, or the kernel resets the connection and our farewell is lost.
    pub async fn drain(&mut self) {
        while let Ok((_, 1..)) = buffer::read(&mut self.io, &mut self.appetite).await {}
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, pulse: &Pulse) -> Poll<Result<Step, ReadError>> {
        if let Some(step) = self.ahead.take() {
            return Poll::Ready(Ok(*step));
        }
        loop {
            match self.parse(pulse)? {
                None => {}
                Some(Step::Asked) => {
                    // Its pong goes out before what follows is read, not behind the answer to that.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(step) => return Poll::Ready(Ok(step)),
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Ok(Step::Eof)),
                // TLS without its close_notify: like any end without a close frame, it is a loss.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(Step::Eof));
                }
                Err(error) => return Poll::Ready(Err(ReadError::Io(error))),
                Ok(_) => pulse.heard(),
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let kept = self.raw.len();
        // Only the beginning of a header or of a control frame is ever left over.
        if let Some(buffer) = &mut self.buffer
            && self.raw.start > 0
        {
            buffer.copy_within(self.raw.clone(), 0);
        }
        self.raw = 0..kept;
        let n = ready!(buffer::poll_read(&mut self.io, &mut self.buffer, kept, &mut self.appetite, cx))?;
        self.raw.end += n;
        Poll::Ready(Ok(n))
    }

    /// Parses what is in the buffer. Payload of consecutive frames becomes one piece.
    fn parse(&mut self, pulse: &Pulse) -> Result<Option<Step>, ReadError> {
        let Some(mut buffer) = self.buffer.take() else { return Ok(None) };
        let step = self.parse_in(&mut buffer, pulse);
        self.buffer = Some(buffer);
        step
    }

    fn parse_in(&mut self, buffer: &mut [u8], pulse: &Pulse) -> Result<Option<Step>, ReadError> {
        let mut piece: Option<Range<usize>> = None;
        loop {
            if let Some(payload) = &mut self.payload {
                let is_note = self.text == Text::Messages && self.message.as_ref().is_some_and(|m| m.is_text);
                let n = usize::try_from(payload.left).unwrap_or(usize::MAX).min(self.raw.len());
                let arrived = self.raw.start..self.raw.start + n;
                if let Some(mask) = payload.mask {
                    payload.phase = frame::apply_mask(&mut buffer[arrived.clone()], mask, payload.phase);
                }
                if is_note {
                    self.note.extend_from_slice(&buffer[arrived.clone()]);
                } else if n > 0 {
                    piece = Some(match piece {
                        None => arrived.clone(),
                        Some(piece) => {
                            buffer.copy_within(arrived.clone(), piece.end);
                            piece.start..piece.end + n
                        }
                    });
                }
                self.raw.start = arrived.end;
                payload.left -= n as u64;
                if payload.left > 0 {
                    break;
                }
                let fin = payload.fin;
                self.payload = None;
                if fin {
                    self.message = None;
                    if is_note {
                        let text = String::from_utf8(std::mem::take(&mut self.note));
                        return Ok(Some(Step::Text(text.map_err(|_| FrameError::Utf8)?)));
                    }
                }
            }
            let (header, header_len) = match frame::parse(&buffer[self.raw.clone()], self.role) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                // What came before the mistake is delivered before it.
                Err(_) if piece.is_some() => break,
                Err(error) => return Err(error.into()),
            };
            if header.opcode.is_control() {
                // A control frame's payload is at most 125 bytes: it is awaited whole.
                let frame_len = header_len + header.len as usize;
                if self.raw.len() < frame_len || (header.opcode == Opcode::Close && piece.is_some()) {
                    break;
                }
                let payload = self.raw.start + header_len..self.raw.start + frame_len;
                self.raw.start = payload.end;
                let payload = &mut buffer[payload];
                if let Some(mask) = header.mask {
                    frame::apply_mask(payload, mask, 0);
                }
                match header.opcode {
                    Opcode::Ping => {
                        pulse.asked(payload.to_vec());
                        return Ok(Some(piece.map_or(Step::Asked, Step::Bytes)));
                    }
                    Opcode::Close => return Ok(Some(Step::Close(parse_close(payload)?))),
                    _ => {}
                }
                continue;
            }
            // Bytes that came before a control message are delivered before it.
            let begins_note = header.opcode == Opcode::Text && self.text == Text::Messages;
            if piece.is_some() && begins_note {
                break;
            }
            match self.begin(header) {
                Err(_) if piece.is_some() => break,
                begun => begun?,
            }
            self.raw.start += header_len;
        }
        Ok(piece.map(Step::Bytes))
    }

    /// A data frame begins: the order of fragments, and the limits. An error changes nothing.
    fn begin(&mut self, header: Header) -> Result<(), ReadError> {
        let (is_text, before) = match (&self.message, header.opcode) {
            (Some(message), Opcode::Continuation) => (message.is_text, message.len),
            (None, Opcode::Text | Opcode::Binary) => (header.opcode == Opcode::Text, 0),
            _ => return Err(FrameError::Fragment.into()),
        };
        let len = before.saturating_add(header.len);
        let is_note = is_text && self.text == Text::Messages;
        let most = if is_note { MAX_CONTROL as u64 } else { self.sizes.message };
        if header.len > self.sizes.frame || len > most {
            return Err(ReadError::TooLarge);
        }
        self.message = Some(Message { is_text, len });
        self.payload = Some(Payload { left: header.len, mask: header.mask, phase: 0, fin: header.fin });
        Ok(())
    }
}

fn parse_close(payload: &[u8]) -> Result<Option<(u16, String)>, FrameError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(FrameError::Close) };
    };
    let code = u16::from_be_bytes(*code);
    let reason = String::from_utf8(reason.to_vec()).map_err(|_| FrameError::Close)?;
    if frame::may_be_sent(code) { Ok(Some((code, reason))) } else { Err(FrameError::Close) }
}
