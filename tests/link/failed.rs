//! A peer that is not understood is told so, and then gets the end of the connection without having to wait; and pings
//! that come together are all answered.

use std::future::{pending, ready};

use futures_util::{SinkExt, StreamExt};
use protocol::end::{Closing, End};
use stream::bridge::{AtEof, ControlEffect, Local};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::Message;
use websocket::connection::{CloseAction, IdleEnd, Limits, WebSocket};
use websocket::frame::Role;
use websocket::reader::Text;

use crate::support::{bridge_to_the_end, limits, link_to_the_end, read_all, soon, websocket};

/// A client's frames, each with a mask of zeros.
fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let frame = |(first, payload): &(u8, &[u8])| {
        [&[*first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
    };
    frames.iter().flat_map(frame).collect()
}

/// What a client may do wrong, and the code that it hears.
fn mistakes() -> Vec<(Vec<u8>, u16)> {
    vec![
        // A reserved bit, a reserved opcode, a continuation of nothing, a frame without mask.
        (frames(&[(0xc2, b"x")]), 1002),
        (frames(&[(0x83, b"x")]), 1002),
        (frames(&[(0x80, b"x")]), 1002),
        (vec![0x82, 1, b'x'], 1002),
        // A close frame with half a code.
        (frames(&[(0x88, b"\x03")]), 1002),
        (frames(&[(0x81, b"ab\xff")]), 1007),
        (frames(&[(0x01, b"ab\xe2"), (0x80, b"(")]), 1007),
        (frames(&[(0x01, b"\xe2\x82"), (0x89, b"ping"), (0x80, b"")]), 1007),
        // 8 MiB.
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0], 4413),
    ]
}

/// Limits under which a peer that has to wait for its end would wait for longer than the test.
fn patient() -> Limits {
    Limits { close_wait: std::time::Duration::from_secs(3600), ..Limits::default() }
}

/// A websocket of ours, with nothing but bytes at its other end.
fn raw(role: Role, text: Text) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(1 << 16);
    (WebSocket::new(near, &[], role, text, patient()), far)
}

/// The code of the close frame before the end of the connection; of a client of ours it is masked.
async fn code_before_the_end(far: &mut DuplexStream, masked: bool) -> u16 {
    let mut got = vec![];
    soon(far.read_to_end(&mut got)).await.unwrap();
    let at = got.iter().position(|byte| *byte == 0x88).expect("no close frame");
    let code: Vec<u8> = match masked {
        false => got[at + 2..at + 4].to_vec(),
        true => (0..2).map(|i| got[at + 6 + i] ^ got[at + 2 + i]).collect(),
    };
    u16::from_be_bytes([code[0], code[1]])
}

#[tokio::test]
async fn a_client_that_is_not_understood_hears_why_and_then_the_end_of_the_connection() {
    for (sent, code) in mistakes() {
        let (host_socket, mut host) = websocket(4096, Text::Messages, patient()).await;
        let (client_socket, mut client) = raw(Role::Server, Text::Bytes);
        let relay = tokio::spawn(link_to_the_end(host_socket, client_socket, false, pending()));
        // Its answer to a close frame comes, but cannot be understood any more.
        client.write_all(&[sent.clone(), frames(&[(0x88, b"\x03\xe8")])].concat()).await.unwrap();
        assert_eq!(code_before_the_end(&mut client, false).await, code, "{sent:x?}");
        drop(client);
        assert_eq!(soon(read_all(&mut host)).await.close.unwrap().0, 4503);
        drop(host);
        assert_eq!(soon(relay).await.unwrap().closing.end.code(), code);
    }
}

#[tokio::test]
async fn a_host_or_a_client_of_ours_does_the_same() {
    // The relay breaks the protocol: agent and `open` have the client's role.
    let (near, mut far) = raw(Role::Client, Text::Messages);
    let (output, _target) = duplex(64);
    let local = Local { output, input: None::<DuplexStream>, at_eof: AtEof::End, control: None };
    let agent =
        tokio::spawn(bridge_to_the_end(near, local, |_| ControlEffect::None, ready(Ok(None)), pending()));
    far.write_all(&[0x82, 0x81, 0, 0, 0, 0, b'x']).await.unwrap();
    assert_eq!(code_before_the_end(&mut far, true).await, 1002);
    drop(far);
    assert_eq!(soon(agent).await.unwrap().closing.end, End::ProtocolError);

    // While it is parked, and while it waits.
    let wrong = frames(&[(0xc2, b"x")]);
    let (mut parked, mut far) = raw(Role::Server, Text::Messages);
    far.write_all(&wrong).await.unwrap();
    let IdleEnd::Lost(_, close_action) = soon(parked.wait_idle(pending::<()>())).await else {
        panic!("still held")
    };
    let finished = tokio::spawn(parked.finish(close_action));
    assert_eq!(code_before_the_end(&mut far, false).await, 1002);
    drop(far);
    soon(finished).await.unwrap();

    let (mut waiting, mut far) = raw(Role::Server, Text::Bytes);
    far.write_all(&wrong).await.unwrap();
    let (_, close_action) = soon(waiting.wait_unread(pending::<()>())).await.unwrap_err();
    let finished = tokio::spawn(waiting.finish(close_action));
    assert_eq!(code_before_the_end(&mut far, false).await, 1002);
    drop(far);
    soon(finished).await.unwrap();
}

#[tokio::test]
async fn what_is_not_understood_after_the_farewell_ends_the_wait_as_well() {
    let (near, mut far) = raw(Role::Server, Text::Bytes);
    let finished = tokio::spawn(near.finish(CloseAction::Send(End::SessionEnded.into())));
    let mut close = [0; 4];
    soon(far.read_exact(&mut close)).await.unwrap();
    far.write_all(&frames(&[(0xc2, b"x")])).await.unwrap();
    soon(far.read_to_end(&mut vec![])).await.unwrap();
    drop(far);
    soon(finished).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_is_understood_may_take_its_time_to_answer() {
    let (near, mut far) = raw(Role::Server, Text::Bytes);
    let finished = tokio::spawn(near.finish(CloseAction::Send(End::SessionEnded.into())));
    let mut got = vec![0; 2 + 2 + End::SessionEnded.reason().len()];
    soon(far.read_exact(&mut got)).await.unwrap();
    far.write_all(&frames(&[(0x82, b"what was under way")])).await.unwrap();
    tokio::time::timeout(std::time::Duration::from_millis(50), far.read_u8()).await.unwrap_err();
    far.write_all(&frames(&[(0x88, &got[2..4])])).await.unwrap();
    assert_eq!(soon(far.read_to_end(&mut vec![])).await.unwrap(), 0);
    soon(finished).await.unwrap();
}

#[tokio::test]
async fn text_is_passed_on_up_to_the_first_character_that_is_none() {
    let text = "µ€😀".as_bytes();
    for size in 1..=text.len() {
        let (host_socket, mut host) = websocket(4096, Text::Messages, patient()).await;
        let (client_socket, mut client) = raw(Role::Server, Text::Bytes);
        let relay = tokio::spawn(link_to_the_end(host_socket, client_socket, false, pending()));
        let pieces: Vec<&[u8]> = text.chunks(size).collect();
        let last = pieces.len() - 1;
        let fragments = pieces
            .iter()
            .enumerate()
            .map(|(at, piece)| (u8::from(at == 0) | if at == last { 0x80 } else { 0 }, *piece));
        // Binary may be anything, also between texts.
        let said = [frames(&fragments.collect::<Vec<_>>()), frames(&[(0x82, b"\xff"), (0x81, b"ok\xc0!")])];
        client.write_all(&said.concat()).await.unwrap();
        assert_eq!(code_before_the_end(&mut client, false).await, 1007);
        drop(client);
        let got = soon(read_all(&mut host)).await;
        assert_eq!(got.bytes, [text, b"\xffok"].concat(), "pieces of {size}");
        drop(host);
        let closing: Closing = soon(relay).await.unwrap().closing;
        assert_eq!(closing.end, End::InvalidText);
    }
}

#[tokio::test]
async fn pings_that_come_together_are_each_answered_in_their_order() {
    for round in 0..30 {
        let (host_socket, host) = websocket(1 << 16, Text::Messages, limits()).await;
        let (client_socket, client) = websocket(1 << 16, Text::Bytes, limits()).await;
        let relay = tokio::spawn(link_to_the_end(host_socket, client_socket, false, pending()));
        let mut ends = [host, client];
        for far in &mut ends {
            for number in 0..10 {
                far.feed(Message::Ping(vec![number].into())).await.unwrap();
            }
            far.flush().await.unwrap();
            for number in 0..10 {
                let pong = soon(far.next()).await.unwrap().unwrap();
                assert_eq!(pong, Message::Pong(vec![number].into()), "round {round}");
            }
        }
        relay.abort();
    }
}
