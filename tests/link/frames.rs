//! FrameReader and writer, each against the oracle in both roles, and against frames made by hand.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWriteExt, duplex, split};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role as OracleRole;
use websocket::frame::{self, Header, Opcode, Role};
use websocket::keepalive::Keepalive;
use websocket::reader::{Event, FrameReader, ReadError, Sizes, Text};
use websocket::writer::FrameWriter;

use crate::random::Random;

const SIZES: Sizes = Sizes { frame: 1 << 20, message: 4 << 20 };
const STALL: std::time::Duration = std::time::Duration::from_secs(30);

fn other(role: Role) -> OracleRole {
    match role {
        Role::Client => OracleRole::Server,
        Role::Server => OracleRole::Client,
    }
}

/// Everything that a reader gives until the end: bytes, control messages, and how it ended.
async fn all<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
) -> (Vec<u8>, Vec<String>, Result<Option<u16>, String>) {
    let (mut bytes, mut notes, keepalive) = (Vec::new(), Vec::new(), Keepalive::default());
    loop {
        match reader.next(&keepalive).await {
            Ok(Event::Bytes(piece)) => {
                assert!(!piece.is_empty() && piece.len() <= 65_536);
                bytes.extend_from_slice(piece);
            }
            Ok(Event::Text(note)) => notes.push(note),
            Ok(Event::Close(close)) => return (bytes, notes, Ok(close.map(|(code, _)| code))),
            Ok(Event::Eof) => return (bytes, notes, Ok(None)),
            Err(error) => return (bytes, notes, Err(error.to_string())),
        }
    }
}

#[tokio::test]
async fn what_the_oracle_sends_is_read() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let role = if seed % 2 == 0 { Role::Server } else { Role::Client };
        let text = if seed % 3 == 0 { Text::Messages } else { Text::Bytes };
        let (ours, theirs) = duplex(1 + random.below(9_000));
        let mut oracle = WebSocketStream::from_raw_socket(theirs, other(role), None).await;
        let (mut bytes, mut notes) = (Vec::new(), Vec::new());
        let mut messages = Vec::new();
        for _ in 0..30 {
            let len = random.len();
            match random.below(4) {
                0 => messages.push(Message::Ping(random.bytes(len % 126).into())),
                1 => {
                    let note: String =
                        random.bytes(len % 4000).iter().map(|byte| char::from(byte % 128)).collect();
                    match text {
                        Text::Messages => notes.push(note.clone()),
                        Text::Bytes => bytes.extend_from_slice(note.as_bytes()),
                    }
                    messages.push(Message::text(note));
                }
                _ => {
                    let piece = random.bytes(len);
                    bytes.extend_from_slice(&piece);
                    messages.push(Message::binary(piece));
                }
            }
        }
        let send = async {
            for message in messages {
                oracle.feed(message).await.unwrap();
            }
            oracle.close(None).await.unwrap();
        };
        let mut reader = FrameReader::new(ours, &[], role, text, SIZES);
        let ((), (got, received, end)) = tokio::join!(send, all(&mut reader));
        assert!(got == bytes, "seed {seed}: {} of {} bytes", got.len(), bytes.len());
        assert_eq!(received, notes, "seed {seed}");
        assert_eq!(end, Ok(None), "seed {seed}");
    }
}

#[tokio::test]
async fn the_oracle_reads_what_is_sent() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let role = if seed % 2 == 0 { Role::Server } else { Role::Client };
        let (ours, theirs) = duplex(1 + random.below(9_000));
        let mut oracle = WebSocketStream::from_raw_socket(theirs, other(role), None).await;
        let mut writer = FrameWriter::new(ours, role, STALL);
        let mut expected = Vec::new();
        let send = async {
            for _ in 0..30 {
                let len = random.len();
                let piece = random.bytes(len);
                match random.below(4) {
                    0 => writer.ping().await.unwrap(),
                    1 => {
                        let note: String = piece.iter().map(|byte| char::from(byte % 128)).collect();
                        expected.push(Message::text(note.clone()));
                        writer.text(note).await.unwrap();
                    }
                    _ => {
                        expected.push(Message::binary(piece.clone()));
                        writer.bytes(&mut piece.clone()).await.unwrap();
                    }
                }
            }
            writer.close(&protocol::end::End::SessionEnded.into()).await.unwrap();
        };
        let read = async {
            let mut got = Vec::new();
            loop {
                match oracle.next().await.unwrap().unwrap() {
                    Message::Ping(_) => {}
                    Message::Close(close) => return (got, close.unwrap()),
                    message => got.push(message),
                }
            }
        };
        let ((), (got, close)) = tokio::join!(send, read);
        assert!(got == expected, "seed {seed}");
        assert_eq!((u16::from(close.code), close.reason.as_str()), (4410, "session ended"));
    }
}

/// A frame as a client sends it.
fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let (header, n) = frame::encode(Header { fin, opcode, len: payload.len() as u64, mask: Some(mask) });
    let mut payload = payload.to_vec();
    frame::apply_mask(&mut payload, mask, 0);
    [&header[..n], &payload].concat()
}

#[tokio::test]
async fn fragments_with_control_frames_between_are_one_stream_of_bytes_however_they_are_cut() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let (mut wire, mut bytes) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let fragments = 1 + random.below(4);
            for number in 0..fragments {
                let len = random.len();
                let piece = random.bytes(len);
                let opcode = if number == 0 { Opcode::Binary } else { Opcode::Continuation };
                wire.extend(masked(number + 1 == fragments, opcode, &piece));
                bytes.extend(piece);
                if random.below(2) == 0 {
                    let opcode = if random.below(2) == 0 { Opcode::Ping } else { Opcode::Pong };
                    wire.extend(masked(true, opcode, b"between"));
                }
            }
        }
        wire.extend(masked(true, Opcode::Close, &1000_u16.to_be_bytes()));
        // Some of it came in together with the handshake, the rest in pieces.
        let early = random.below(100.min(wire.len()));
        let (ours, mut theirs) = duplex(1 << 20);
        let mut reader = FrameReader::new(ours, &wire[..early], Role::Server, Text::Bytes, SIZES);
        let rest = wire[early..].to_vec();
        let send = async {
            let mut rest = &rest[..];
            while !rest.is_empty() {
                let n = (1 + random.below(3_000)).min(rest.len());
                theirs.write_all(&rest[..n]).await.unwrap();
                rest = &rest[n..];
                tokio::task::yield_now().await;
            }
        };
        let ((), (got, _, end)) = tokio::join!(send, all(&mut reader));
        assert!(got == bytes, "seed {seed}");
        assert_eq!(end, Ok(Some(1000)));
    }
}

#[tokio::test]
async fn what_the_oracle_refuses_is_refused() {
    let text = "é".as_bytes();
    let close = |payload: &[u8]| masked(true, Opcode::Close, payload);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("continuation of nothing", masked(true, Opcode::Continuation, b"x")),
        (
            "a message inside another",
            [masked(false, Opcode::Binary, b"x"), masked(true, Opcode::Binary, b"x")].concat(),
        ),
        ("close with one byte", close(&[3])),
        ("close 1005", close(&1005_u16.to_be_bytes())),
        ("close 1006", close(&1006_u16.to_be_bytes())),
        ("close 999", close(&999_u16.to_be_bytes())),
        ("close reason not UTF-8", close(&[3, 232, 0xff])),
        ("text not UTF-8", masked(true, Opcode::Text, &text[..1])),
        ("long ping", {
            let mut frame = masked(true, Opcode::Binary, &[0; 126]);
            frame[0] = 0x89;
            frame
        }),
        ("fragmented ping", masked(false, Opcode::Ping, b"")),
        ("reserved bit", {
            let mut frame = masked(true, Opcode::Binary, b"x");
            frame[0] |= 0x40;
            frame
        }),
        ("reserved opcode", {
            let mut frame = masked(true, Opcode::Binary, b"x");
            frame[0] = 0x83;
            frame
        }),
    ];
    for (what, wire) in cases {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(&wire).await.unwrap();
        drop(theirs);
        let mut reader = FrameReader::new(ours, &[], Role::Server, Text::Messages, SIZES);
        let (_, _, end) = all(&mut reader).await;
        assert!(end.is_err(), "{what}: {end:?}");
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(&wire).await.unwrap();
        drop(theirs);
        let mut oracle = WebSocketStream::from_raw_socket(ours, OracleRole::Server, None).await;
        let mut refused = false;
        while let Some(message) = oracle.next().await {
            refused |= match message {
                Err(_) => true,
                // The oracle answers a wrong close code with a protocol error instead.
                Ok(Message::Close(close)) => close.is_none_or(|close| close.code != 1000.into()),
                Ok(_) => false,
            };
            if refused {
                break;
            }
        }
        assert!(refused, "{what}: the oracle takes it");
    }
}

#[tokio::test]
async fn sizes_are_held_for_frames_and_for_messages() {
    let sizes = Sizes { frame: 1000, message: 1500 };
    let long_note = masked(true, Opcode::Text, &[b'x'; 5000]);
    let cases = [
        (masked(true, Opcode::Binary, &[0; 1001]), Text::Bytes),
        (
            [masked(false, Opcode::Binary, &[0; 1000]), masked(true, Opcode::Continuation, &[0; 501])]
                .concat(),
            Text::Bytes,
        ),
        (long_note, Text::Messages),
    ];
    for (wire, text) in cases {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(&wire).await.unwrap();
        let sizes = if text == Text::Bytes { sizes } else { SIZES };
        let mut reader = FrameReader::new(ours, &[], Role::Server, text, sizes);
        let keepalive = Keepalive::default();
        let error = loop {
            match reader.next(&keepalive).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ReadError::TooLarge), "{error}");
    }
}

#[tokio::test]
async fn reading_can_be_given_up_and_taken_up_again() {
    let mut random = Random::new(7);
    let sent = random.bytes(300_000);
    let (ours, theirs) = duplex(64);
    let (read, _write) = split(ours);
    let mut reader = FrameReader::new(read, &[], Role::Server, Text::Bytes, SIZES);
    let mut writer = FrameWriter::new(theirs, Role::Client, STALL);
    let send = async {
        for piece in sent.chunks(10_000) {
            writer.bytes(&mut piece.to_vec()).await.unwrap();
        }
    };
    let receive = async {
        let (mut got, keepalive) = (Vec::new(), Keepalive::default());
        while got.len() < sent.len() {
            // Dropped whenever the other branch is first.
            tokio::select! {
                event = reader.next(&keepalive) => match event.unwrap() {
                    Event::Bytes(piece) => got.extend_from_slice(piece),
                    other => panic!("{other:?}"),
                },
                () = tokio::task::yield_now() => {}
            }
        }
        got
    };
    let ((), got) = tokio::join!(send, receive);
    assert!(got == sent);
}
