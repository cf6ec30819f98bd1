//! Writes a SPICE server's bytes so that no TLS record goes on behind the end of a message.
//!
//! spice-gtk waits for the socket below TLS (`spice_channel_iterate_read`), and GLib's TLS does not count what it has
//! decrypted and not given out yet. So with `proxy=https://` a viewer that has read one message does not see the next
//! one in the same record, until more bytes come: it stands still.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// The header before the server's answer to a new connection, and where its length is.
const LINK: usize = 16;

/// The server's result of the password.
const RESULT: usize = 4;

/// A message's header, without and with a serial number.
const MINI: usize = 6;
const FULL: usize = 18;

/// The longest answer that is looked at, in bytes.
const MAX_ANSWER: usize = 4096;

/// Where the bytes are in the server's direction of a SPICE connection.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    LinkHeader,
    Answer,
    Result {
        has_mini: bool,
    },
    /// The header of a message, of this length.
    Header(usize),
    Body(usize),
    /// Not SPICE, or a SPICE that is not known here.
    Unknown,
}

/// Finds the ends of messages.
#[derive(Debug)]
struct Messages {
    part: Part,
    /// The bytes of this part so far, where they are needed.
    seen: Vec<u8>,
    /// How many bytes of this part are still to come.
    left: usize,
}

impl Messages {
    fn new() -> Messages {
        Messages { part: Part::LinkHeader, seen: vec![], left: LINK }
    }

    /// How many of these bytes may go into one record.
    fn span(&self, bytes: &[u8]) -> usize {
        if self.part == Part::Unknown || bytes.len() <= self.left {
            return bytes.len();
        }
        let Part::Header(length) = self.part else { return self.left };
        let header = [&self.seen, &bytes[..self.left]].concat();
        bytes.len().min(self.left + body(&header, length))
    }

    /// Goes on behind these bytes.
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.part != Part::Unknown {
            let (now, rest) = bytes.split_at(bytes.len().min(self.left));
            if !matches!(self.part, Part::Body(_) | Part::Result { .. }) {
                self.seen.extend_from_slice(now);
            }
            self.left -= now.len();
            bytes = rest;
            // A body may be empty.
            while self.left == 0 && self.part != Part::Unknown {
                (self.part, self.left) = self.next();
                self.seen.clear();
            }
        }
    }

    fn next(&self) -> (Part, usize) {
        match self.part {
            Part::LinkHeader => match number(&self.seen, 12) {
                Some(length @ 1..=MAX_ANSWER) if self.seen.starts_with(b"REDQ") => (Part::Answer, length),
                _ => (Part::Unknown, 0),
            },
            Part::Answer => match capabilities(&self.seen) {
                // Bit 2: a conversation of SASL follows.
                Some(bits) if bits & 4 == 0 => (Part::Result { has_mini: bits & 8 != 0 }, RESULT),
                _ => (Part::Unknown, 0),
            },
            Part::Result { has_mini } => {
                let length = if has_mini { MINI } else { FULL };
                (Part::Header(length), length)
            }
            Part::Header(length) => (Part::Body(length), body(&self.seen, length)),
            Part::Body(length) => (Part::Header(length), length),
            Part::Unknown => (Part::Unknown, 0),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
}

/// The length of the body behind a header: its last number, before the one for parts of a message.
fn body(header: &[u8], length: usize) -> usize {
    number(header, if length == MINI { 2 } else { 10 }).unwrap_or(0)
}

/// The common capabilities in a server's answer (`RedLinkReply`): behind an error and a key of 162 bytes.
fn capabilities(answer: &[u8]) -> Option<usize> {
    if number(answer, 0)? != 0 || number(answer, 166)? == 0 {
        return None;
    }
    number(answer, number(answer, 174)?)
}

/// A connection with TLS to a viewer.
pub(super) struct Records<W> {
    inner: W,
    /// `None`: without TLS there are no records.
    messages: Option<Messages>,
}

impl<W> Records<W> {
    pub(super) fn new(inner: W, is_tls: bool) -> Records<W> {
        Records { inner, messages: is_tls.then(Messages::new) }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Records<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let span = self.messages.as_ref().map_or(buf.len(), |messages| messages.span(buf));
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &buf[..span]))?;
        if let Some(messages) = &mut self.messages {
            messages.advance(&buf[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server sends: its answer, the result, and messages with bodies of these lengths.
    fn server(bits: u32, bodies: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let mut answer = vec![0; 178];
        answer[166..170].copy_from_slice(&1u32.to_le_bytes());
        answer[174..178].copy_from_slice(&178u32.to_le_bytes());
        answer.extend_from_slice(&bits.to_le_bytes());
        let mut bytes =
            [&b"REDQ"[..], &[2, 0, 0, 0, 2, 0, 0, 0], &(answer.len() as u32).to_le_bytes()].concat();
        let mut ends = vec![bytes.len()];
        bytes.extend_from_slice(&answer);
        ends.push(bytes.len());
        bytes.extend_from_slice(&[0; 4]);
        ends.push(bytes.len());
        for length in bodies {
            let size = (*length as u32).to_le_bytes();
            match bits & 8 != 0 {
                true => bytes.extend_from_slice(&[&[1, 0][..], &size].concat()),
                false => bytes.extend_from_slice(&[&[0; 10][..], &size, &[0; 4]].concat()),
            }
            bytes.resize(bytes.len() + length, 7);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn no_record_goes_on_behind_a_message() {
        for bits in [8, 0] {
            let (bytes, ends) = server(bits, &[0, 1, 100, 0, 5000]);
            for piece in [1, 5, 7, 64, 10_000] {
                let (mut messages, mut at) = (Messages::new(), 0);
                while at < bytes.len() {
                    let now = &bytes[at..bytes.len().min(at + piece)];
                    let span = messages.span(now);
                    assert!(span > 0);
                    assert!(!ends.iter().any(|end| (at + 1..at + span).contains(end)), "{at} {span} {piece}");
                    messages.advance(&now[..span]);
                    at += span;
                }
            }
            // Whole messages stay whole.
            let mut messages = Messages::new();
            messages.advance(&bytes[..ends[4]]);
            assert_eq!(messages.span(&bytes[ends[4]..]), ends[5] - ends[4]);
        }
    }

    #[test]
    fn what_is_not_known_is_passed_on_as_it_comes() {
        let (sasl, _) = server(12, &[3]);
        for bytes in [b"RFB 003.008\n and so on".to_vec(), sasl, vec![0xff; 500]] {
            let mut messages = Messages::new();
            messages.advance(&bytes);
            assert_eq!((messages.span(&bytes), messages.part), (bytes.len(), Part::Unknown));
        }
    }
}
