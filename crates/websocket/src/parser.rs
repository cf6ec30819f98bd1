//! What received bytes mean: frames in, steps of the byte stream out. No I/O in here.
//!
//! Payload is unmasked in place and handed on as it arrives, so a frame may be larger than any buffer, and no message
//! is ever held.

use std::ops::Range;

use super::frame::{self, FrameError, Header, Opcode, Role};
use super::keepalive::Keepalive;
use super::utf8::Utf8;
use protocol::control::MAX_CONTROL;

/// What text messages mean on this websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Bytes like any other, but UTF-8: for clients that do not speak `stream.v1`.
    Bytes,
    /// Control messages of `stream.v1`, of at most [`MAX_CONTROL`] bytes.
    Messages,
}

/// The largest frame and message that a websocket accepts, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Payload of one frame.
    pub frame: u64,
    /// Payload of all frames of a message.
    pub message: u64,
}

/// How a peer broke the protocol. Nothing that it sends after that is understood.
#[derive(Clone, Copy, Debug)]
pub(super) enum Violation {
    Frame(FrameError),
    TooLarge,
}

impl From<FrameError> for Violation {
    fn from(error: FrameError) -> Violation {
        Violation::Frame(error)
    }
}

/// The state between two frames, or inside of one.
#[derive(Debug)]
pub(super) struct Parser {
    role: Role,
    text: Text,
    sizes: Sizes,
    message: Option<Message>,
    payload: Option<Payload>,
    /// A control message that is not complete yet.
    control: Vec<u8>,
    violation: Option<Violation>,
}

/// The message whose frames come now.
#[derive(Debug)]
struct Message {
    kind: Kind,
    len: u64,
    utf8: Utf8,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Binary,
    /// Text that is part of the byte stream.
    Text,
    Control,
}

/// The payload that the next bytes belong to.
#[derive(Debug)]
struct Payload {
    left: u64,
    mask: Option<[u8; 4]>,
    phase: usize,
    fin: bool,
    kind: Kind,
}

/// What the next bytes are, with ranges in the buffer.
#[derive(Debug)]
pub(super) enum Step {
    /// A ping: the writing half has the next turn.
    Ping,
    Bytes(Range<usize>),
    Text(String),
    Close(Option<(u16, String)>),
    Eof,
}

impl Parser {
    pub(super) fn new(role: Role, text: Text, sizes: Sizes) -> Parser {
        Parser { role, text, sizes, message: None, payload: None, control: vec![], violation: None }
    }

    /// The first violation: nothing that follows it is understood.
    pub(super) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Parses `unparsed` of `buffer`, and takes from it what is done. Payload of consecutive frames becomes one piece.
    /// `None`: more bytes are needed.
    ///
    /// # Errors
    /// The first violation, also if it is called again.
    pub(super) fn parse(
        &mut self,
        buffer: &mut [u8],
        unparsed: &mut Range<usize>,
        keepalive: &Keepalive,
    ) -> Result<Option<Step>, Violation> {
        match self.violation {
            Some(violation) => Err(violation),
            None => self
                .parse_frames(buffer, unparsed, keepalive)
                .inspect_err(|violation| self.violation = Some(*violation)),
        }
    }

    fn parse_frames(
        &mut self,
        buffer: &mut [u8],
        unparsed: &mut Range<usize>,
        keepalive: &Keepalive,
    ) -> Result<Option<Step>, Violation> {
        let mut piece: Option<Range<usize>> = None;
        loop {
            if let Some(payload) = &mut self.payload {
                let kind = payload.kind;
                let n = usize::try_from(payload.left).unwrap_or(usize::MAX).min(unparsed.len());
                let arrived = unparsed.start..unparsed.start + n;
                if let Some(mask) = payload.mask {
                    payload.phase = frame::apply_mask(&mut buffer[arrived.clone()], mask, payload.phase);
                }
                unparsed.start = arrived.end;
                payload.left -= n as u64;
                if kind != Kind::Binary
                    && let Some(message) = &mut self.message
                    && let Err(valid) =
                        message.check(&buffer[arrived.clone()], payload.fin && payload.left == 0)
                {
                    let violation = FrameError::Utf8.into();
                    self.violation = Some(violation);
                    if kind == Kind::Text && valid > 0 {
                        piece = Some(join(buffer, piece, arrived.start..arrived.start + valid));
                    }
                    // What came before the mistake is delivered before it.
                    return piece.map(|piece| Some(Step::Bytes(piece))).ok_or(violation);
                }
                if kind == Kind::Control {
                    self.control.extend_from_slice(&buffer[arrived]);
                } else if n > 0 {
                    piece = Some(join(buffer, piece, arrived));
                }
                if payload.left > 0 {
                    break;
                }
                let fin = payload.fin;
                self.payload = None;
                if fin {
                    self.message = None;
                    if kind == Kind::Control {
                        let text = String::from_utf8(std::mem::take(&mut self.control));
                        return Ok(Some(Step::Text(text.map_err(|_| FrameError::Utf8)?)));
                    }
                }
            }
            let (header, header_len) = match frame::parse(&buffer[unparsed.clone()], self.role) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                // What came before the mistake is delivered before it.
                Err(_) if piece.is_some() => break,
                Err(error) => return Err(error.into()),
            };
            if header.opcode.is_control() {
                // A control frame's payload is at most 125 bytes: it is awaited whole.
                let frame_len = header_len + header.len as usize;
                if unparsed.len() < frame_len || (header.opcode == Opcode::Close && piece.is_some()) {
                    break;
                }
                let payload = unparsed.start + header_len..unparsed.start + frame_len;
                unparsed.start = payload.end;
                let payload = &mut buffer[payload];
                if let Some(mask) = header.mask {
                    frame::apply_mask(payload, mask, 0);
                }
                match header.opcode {
                    Opcode::Ping => {
                        keepalive.ping_received(payload.to_vec());
                        return Ok(Some(piece.map_or(Step::Ping, Step::Bytes)));
                    }
                    Opcode::Close => return Ok(Some(Step::Close(frame::parse_close(payload)?))),
                    _ => {}
                }
                continue;
            }
            // Bytes that came before a control message are delivered before it.
            if header.opcode == Opcode::Text && self.text == Text::Messages && piece.is_some() {
                break;
            }
            match self.begin(header) {
                Err(_) if piece.is_some() => break,
                begun => begun?,
            }
            unparsed.start += header_len;
        }
        Ok(piece.map(Step::Bytes))
    }

    /// The kind of a message that begins with this opcode.
    fn kind_of(&self, opcode: Opcode) -> Kind {
        match (opcode, self.text) {
            (Opcode::Text, Text::Messages) => Kind::Control,
            (Opcode::Text, Text::Bytes) => Kind::Text,
            _ => Kind::Binary,
        }
    }

    /// Begins a data frame: checks the order of fragments, and the limits. An error changes nothing.
    fn begin(&mut self, header: Header) -> Result<(), Violation> {
        let (kind, before) = match (&self.message, header.opcode) {
            (Some(message), Opcode::Continuation) => (message.kind, message.len),
            (None, Opcode::Text | Opcode::Binary) => (self.kind_of(header.opcode), 0),
            _ => return Err(FrameError::Fragment.into()),
        };
        let len = before.saturating_add(header.len);
        let limit = if kind == Kind::Control { MAX_CONTROL as u64 } else { self.sizes.message };
        if header.len > self.sizes.frame || len > limit {
            return Err(Violation::TooLarge);
        }
        match &mut self.message {
            Some(message) => message.len = len,
            None => self.message = Some(Message { kind, len, utf8: Utf8::default() }),
        }
        self.payload = Some(Payload { left: header.len, mask: header.mask, phase: 0, fin: header.fin, kind });
        Ok(())
    }
}

impl Message {
    /// Checks a piece of a text, which may be its last.
    ///
    /// # Errors
    /// If the text is not UTF-8: how many bytes of the piece come before the mistake.
    fn check(&mut self, piece: &[u8], is_last: bool) -> Result<(), usize> {
        self.utf8.take(piece)?;
        if is_last && !self.utf8.may_end() { Err(piece.len()) } else { Ok(()) }
    }
}

/// Moves what arrived behind the piece that it continues; returns both as one.
#[inline(always)]
fn join(buffer: &mut [u8], piece: Option<Range<usize>>, arrived: Range<usize>) -> Range<usize> {
    let Some(piece) = piece else { return arrived };
    let end = piece.end + (arrived.end - arrived.start);
    buffer.copy_within(arrived, piece.end);
    piece.start..end
}
