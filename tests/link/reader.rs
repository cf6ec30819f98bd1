//! What tungstenite sends, the reader yields; what tungstenite refuses, the reader refuses.

use std::io::{self, Read, Write};
use std::task::Poll;

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};
use websocket::frame::Role;
use websocket::keepalive::Keepalive;
use websocket::reader::{Event, FrameReader, ReadError, Sizes, Text};

use crate::support::{Chunks, Dice, soon};

const SIZES: Sizes = Sizes { frame: 1 << 20, message: 4 << 20 };
const LENGTHS: [usize; 9] = [0, 1, 7, 125, 126, 127, 65535, 65536, 1 << 20];

/// A connection that is all in memory.
pub(crate) struct Memory {
    pub incoming: io::Cursor<Vec<u8>>,
    pub sent: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.incoming.read(buf)
    }
}

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.sent.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn theirs(incoming: Vec<u8>, role: TheirRole) -> WebSocket<Memory> {
    let memory = Memory { incoming: io::Cursor::new(incoming), sent: vec![] };
    let config = WebSocketConfig::default().max_frame_size(Some(1 << 20)).max_message_size(Some(4 << 20));
    WebSocket::from_raw_socket(memory, role, Some(config))
}

/// Everything one reader yielded.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Received {
    pub bytes: Vec<u8>,
    pub texts: Vec<String>,
    pub close: Option<Option<(u16, String)>>,
    pub error: Option<String>,
    pub pongs: Vec<Vec<u8>>,
}

pub(crate) async fn ours(
    wire: &[u8],
    early: usize,
    role: Role,
    text: Text,
    seed: u64,
    most: usize,
) -> Received {
    let (early, late) = wire.split_at(early.min(wire.len()));
    let chunks = Chunks { bytes: late.to_vec().into(), dice: Dice(seed), most };
    let mut reader = FrameReader::new(chunks, early, role, text, SIZES);
    let keepalive = Keepalive::default();
    let mut got = Received::default();
    let mut dice = Dice(seed ^ 1);
    soon(async {
        loop {
            // Often dropped and called again, as a select does.
            let event = if dice.one_in(2) {
                once(reader.next(&keepalive)).await
            } else {
                // A ping is seen only by who looks for it.
                tokio::select! {
                    biased;
                    payload = keepalive.next_pong() => {
                        got.pongs.push(payload);
                        None
                    }
                    event = reader.next(&keepalive) => Some(event),
                }
            };
            while let Some(payload) = once(keepalive.next_pong()).await {
                got.pongs.push(payload);
            }
            let Some(event) = event else { continue };
            match event {
                Ok(Event::Bytes(bytes)) => {
                    assert!(!bytes.is_empty() && bytes.len() <= 1 << 20);
                    got.bytes.extend_from_slice(bytes);
                }
                Ok(Event::Text(text)) => got.texts.push(text),
                Ok(Event::Close(close)) => return got.close = Some(close),
                Ok(Event::Eof) => return,
                Err(ReadError::Io(error)) => panic!("{error}"),
                Err(error) => return got.error = Some(error.to_string()),
            }
        }
    })
    .await;
    got
}

/// Polls once, and drops what is not ready.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn pair_of(role: Role) -> (TheirRole, TheirRole) {
    match role {
        Role::Server => (TheirRole::Client, TheirRole::Server),
        Role::Client => (TheirRole::Server, TheirRole::Client),
    }
}

/// A random conversation: the wire bytes, and what it says.
fn conversation(dice: &mut Dice, role: Role, text: Text, big: bool) -> (Vec<u8>, Received) {
    let mut far = theirs(vec![], pair_of(role).0);
    let mut said = Received::default();
    let mut raw = |frame| far.send(Message::Frame(frame)).unwrap();
    for _ in 0..1 + dice.below(12) {
        let is_text = dice.one_in(3);
        let is_note = is_text && text == Text::Messages;
        let mut len =
            dice.of(&LENGTHS[..if big { 9 } else { 6 }]).min(if is_note { 4096 } else { usize::MAX });
        if dice.one_in(2) {
            len = dice.below(len + 1);
        }
        let payload = if is_text { vec![b'a' + dice.below(26) as u8; len] } else { dice.bytes(len) };
        if is_note {
            said.texts.push(String::from_utf8(payload.clone()).unwrap());
        } else {
            said.bytes.extend_from_slice(&payload);
        }
        let mut rest = &payload[..];
        let mut opcode = if is_text { Data::Text } else { Data::Binary };
        loop {
            while dice.one_in(4) {
                let len = dice.of(&[0, 1, 124, 125]);
                let payload = dice.bytes(len);
                if dice.one_in(2) {
                    said.pongs.push(payload.clone());
                    raw(Frame::ping(payload));
                } else {
                    raw(Frame::pong(payload));
                }
            }
            let n = if dice.one_in(2) { rest.len() } else { dice.below(rest.len() + 1) };
            let fin = n == rest.len() && !dice.one_in(4);
            raw(Frame::message(rest[..n].to_vec(), OpCode::Data(opcode), fin));
            opcode = Data::Continue;
            rest = &rest[n..];
            if fin {
                break;
            }
        }
    }
    if dice.one_in(2) {
        let close = dice.one_in(2).then(|| (dice.of(&[1000, 1001, 1011, 3000, 4410]), "why é".to_owned()));
        let frame =
            close.clone().map(|(code, reason)| CloseFrame { code: code.into(), reason: reason.into() });
        raw(Frame::close(frame));
        said.close = Some(close);
        let mut wire = far.get_ref().sent.clone();
        // What follows a close is never read.
        wire.extend_from_slice(&[0x89, 0]);
        return (wire, said);
    }
    (far.get_ref().sent.clone(), said)
}

#[tokio::test]
async fn what_tungstenite_sends_is_read_in_any_pieces() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let role = dice.of(&[Role::Server, Role::Client]);
        let text = dice.of(&[Text::Bytes, Text::Messages]);
        let big = seed % 40 == 0;
        let (wire, said) = conversation(&mut dice, role, text, big);
        let pieces: &[usize] = if big { &[1000, 100_000] } else { &[1, 2, 13, 100_000] };
        for most in pieces {
            let early = dice.of(&[0, 1, 200, 200_000]);
            let got = ours(&wire, early, role, text, dice.roll(), *most).await;
            assert!(got == said, "seed {seed}, pieces of {most}, early {early}");
        }
    }
}

#[tokio::test]
async fn a_message_at_the_limit_is_read_and_one_byte_more_is_not() {
    for (frames, len, fits) in
        [(1, 1 << 20, true), (1, (1 << 20) + 1, false), (4, 1 << 20, true), (5, 1 << 20, false)]
    {
        let mut far = theirs(vec![], TheirRole::Client);
        for i in 0..frames {
            let opcode = if i == 0 { Data::Binary } else { Data::Continue };
            let frame = Frame::message(vec![7; len], OpCode::Data(opcode), i + 1 == frames);
            far.send(Message::Frame(frame)).unwrap();
        }
        let got = ours(&far.get_ref().sent, 0, Role::Server, Text::Bytes, 1, 1 << 17).await;
        assert_eq!(got.error.is_none(), fits, "{frames} frames of {len}");
    }
}

/// What tungstenite makes of a wire: the bytes and texts of whole messages, and whether it objects.
fn judged(wire: Vec<u8>, role: TheirRole) -> (Received, bool) {
    let mut far = theirs(wire, role);
    let mut got = Received::default();
    loop {
        match far.read() {
            Ok(Message::Binary(bytes)) => got.bytes.extend_from_slice(&bytes),
            Ok(Message::Text(text)) => got.texts.push(text.to_string()),
            Ok(Message::Close(close)) => {
                got.close = Some(close.map(|close| (close.code.into(), close.reason.to_string())));
                return (got, false);
            }
            Ok(_) => {}
            Err(Error::Io(_) | Error::ConnectionClosed) => return (got, false),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (got, false),
            Err(error) => {
                got.error = Some(error.to_string());
                return (got, true);
            }
        }
    }
}

#[tokio::test]
async fn what_tungstenite_refuses_we_refuse_in_any_pieces() {
    let (mut refused, mut stricter) = (0, std::collections::BTreeMap::<String, u32>::new());
    for seed in 0..6000 {
        let mut dice = Dice(seed ^ 0xbad);
        let role = dice.of(&[Role::Server, Role::Client]);
        let (mut wire, _) = conversation(&mut dice, role, Text::Messages, false);
        wire.truncate(6000);
        for _ in 0..1 + dice.below(3) {
            let near_a_header = dice.one_in(2);
            let at = dice.below(if near_a_header { wire.len().min(16) } else { wire.len() });
            match dice.below(3) {
                0 => wire[at] ^= 1 << dice.below(8),
                1 => wire[at] = dice.roll() as u8,
                _ => drop(wire.remove(at)),
            }
            if wire.is_empty() {
                wire.push(0);
            }
        }
        let (judged, objects) = judged(wire.clone(), pair_of(role).1);
        let got = ours(&wire, 0, role, Text::Messages, seed, 100_000).await;
        let slow = ours(&wire, 0, role, Text::Messages, seed, 3).await;
        assert_eq!(got, slow, "seed {seed}: depends on the pieces");
        refused += u32::from(objects);
        if objects {
            assert!(
                got.error.is_some(),
                "seed {seed}: tungstenite says {:?}, we read {:?}",
                judged.error,
                got.close
            );
        } else if let Some(error) = got.error {
            *stricter.entry(error).or_default() += 1;
        } else {
            assert!(got.bytes.starts_with(&judged.bytes) && got.texts == judged.texts, "seed {seed}");
            assert_eq!(got.close, judged.close, "seed {seed}");
        }
    }
    assert!(refused > 1000, "only {refused} were refused");
    println!("refused {refused}, only by us: {stricter:?}");
}
