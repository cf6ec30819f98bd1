//! Arbitrary bytes in arbitrary pieces: the reader never panics, and what it yields does not depend
//! on the pieces. `cargo fuzz run reader` (on stable: with RUSTC_BOOTSTRAP=1).
#![no_main]

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, ReadBuf};
use websocket::frame::Role;
use websocket::keepalive::Keepalive;
use websocket::reader::{Event, FrameReader, Sizes, Text};

const SIZES: Sizes = Sizes { frame: 4096, message: 8192 };

/// Gives its bytes in pieces of the given lengths, in turn; length zero is "not ready".
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: &'a [u8],
    turn: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = match self.lengths {
            [] => self.bytes.len(),
            lengths => {
                let n = usize::from(lengths[self.turn % lengths.len()]);
                self.turn += 1;
                // Two in a row make progress, whatever the lengths are.
                if n == 0 && self.turn % 2 == 0 {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                n.max(1)
            }
        };
        let n = n.min(self.bytes.len()).min(buf.remaining());
        buf.put_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug, Default, PartialEq)]
struct Received {
    bytes: Vec<u8>,
    /// With the number of bytes before each.
    texts: Vec<(usize, String)>,
    end: String,
    pongs: Vec<Vec<u8>>,
}

fn receive(bytes: &[u8], early: usize, lengths: &[u8], role: Role, text: Text) -> Received {
    let (early, bytes) = bytes.split_at(early.min(bytes.len()));
    let mut reader = FrameReader::new(Pieces { bytes, lengths, turn: 0 }, early, role, text, SIZES);
    let keepalive = Keepalive::default();
    let mut received = Received::default();
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // A new future for every poll: dropping one must lose nothing.
        let Poll::Ready(event) = pin!(reader.next(&keepalive)).poll(&mut cx) else { continue };
        match event {
            Ok(Event::Bytes(bytes)) => {
                assert!(!bytes.is_empty());
                received.bytes.extend_from_slice(bytes);
            }
            Ok(Event::Text(text)) => received.texts.push((received.bytes.len(), text)),
            Ok(end) => {
                received.end = format!("{end:?}");
                break;
            }
            Err(error) => {
                received.end = error.to_string();
                break;
            }
        }
    }
    while let Poll::Ready(payload) = pin!(keepalive.next_pong()).poll(&mut cx) {
        received.pongs.push(payload);
    }
    received
}

fuzz_target!(|data: &[u8]| {
    let [flags, early, count, rest @ ..] = data else { return };
    let (lengths, wire) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let text = if flags & 2 == 0 { Text::Bytes } else { Text::Messages };
    let whole = receive(wire, 0, &[], role, text);
    let pieces = receive(wire, usize::from(*early), lengths, role, text);
    let single = receive(wire, 0, &[1, 0], role, text);
    assert_eq!(whole, pieces);
    assert_eq!(whole, single);
});
