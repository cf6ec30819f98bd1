//! Two websockets linked, with the oracle at both far ends: what flows, what stops, and how it ends.

use std::future::pending;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use protocol::close::CloseFrame as Told;
use protocol::end::{End, Outcome};
use stream::bridge::{AtEof, ControlEffect, Local, bridge};
use stream::pair::link;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role as OracleRole;
use websocket::connection::{IdleEnd, Limits, WebSocket};
use websocket::frame::Role;
use websocket::reader::{Sizes, Text};

use crate::random::Random;

type Oracle = WebSocketStream<DuplexStream>;

const SOON: Duration = Duration::from_secs(300);

async fn websocket(room: usize, role: Role, text: Text) -> (WebSocket<DuplexStream>, Oracle) {
    let (ours, theirs) = duplex(room);
    let other = if role == Role::Server { OracleRole::Client } else { OracleRole::Server };
    let oracle = WebSocketStream::from_raw_socket(theirs, other, None).await;
    (WebSocket::new(ours, &[], role, text, Limits::default()), oracle)
}

/// A linked pair: host's far end, client's far end, and what will have come of it.
async fn pair(room: usize, control: bool) -> (Oracle, Oracle, JoinHandle<Outcome>) {
    pair_until(room, control, pending()).await
}

async fn pair_until(
    room: usize,
    control: bool,
    stop: impl Future<Output = Told> + Send + 'static,
) -> (Oracle, Oracle, JoinHandle<Outcome>) {
    let (host, far_host) = websocket(room, Role::Server, Text::Messages).await;
    let text = if control { Text::Messages } else { Text::Bytes };
    let (client, far_client) = websocket(room, Role::Server, text).await;
    (far_host, far_client, tokio::spawn(linked(host, client, control, stop)))
}

/// Links, and takes leave of both.
async fn linked(
    host: WebSocket<DuplexStream>,
    client: WebSocket<DuplexStream>,
    control: bool,
    stop: impl Future<Output = Told>,
) -> Outcome {
    let (outcome, host, client) = link(host, client, control, stop).await;
    tokio::join!(host.close(), client.close());
    outcome
}

async fn next(oracle: &mut Oracle) -> Option<Message> {
    loop {
        match timeout(SOON, oracle.next()).await.expect("nothing comes") {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(message)) => return Some(message),
            Some(Err(_)) | None => return None,
        }
    }
}

async fn bytes(oracle: &mut Oracle, n: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < n {
        match next(oracle).await {
            Some(Message::Binary(piece)) => got.extend_from_slice(&piece),
            other => panic!("{other:?} after {} bytes", got.len()),
        }
    }
    got
}

async fn closed(oracle: &mut Oracle) -> (u16, String) {
    loop {
        match next(oracle).await {
            Some(Message::Close(Some(close))) => return (close.code.into(), close.reason.to_string()),
            Some(Message::Binary(_) | Message::Text(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn bytes_are_the_same_at_the_other_end_and_all_of_them_arrive_before_the_close() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let (mut host, mut client, outcome) = pair(1 + random.below(5_000), false).await;
        let (mut to_client, mut to_host) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            let len = random.len();
            to_client.push(random.bytes(len));
            let len = random.len();
            to_host.push(random.bytes(len));
        }
        let (all_out, all_in) = (to_client.concat(), to_host.concat());
        let (out, inward) = {
            let (mut host_out, mut host_in) = (&mut host).split();
            let (mut client_out, mut client_in) = (&mut client).split();
            let send = async {
                for piece in to_client {
                    host_out.send(Message::binary(piece)).await.unwrap();
                }
            };
            let send_back = async {
                for piece in to_host {
                    client_out.send(Message::binary(piece)).await.unwrap();
                }
            };
            let ((), (), out, inward) = tokio::join!(
                send,
                send_back,
                collect(&mut client_in, all_out.len()),
                collect(&mut host_in, all_in.len())
            );
            (out, inward)
        };
        assert!(out == all_out && inward == all_in, "seed {seed}");
        // The last words, and then the end, in one go.
        let last = random.bytes(50_000);
        let say = async {
            host.send(Message::binary(last.clone())).await.unwrap();
            let close = stream_close(1000, "target ended");
            host.send(Message::Close(Some(close))).await.unwrap();
            while next(&mut host).await.is_some() {}
        };
        let on_control = async {
            assert!(bytes(&mut client, last.len()).await == last);
            assert_eq!(closed(&mut client).await, (1000, "target ended".into()));
            while next(&mut client).await.is_some() {}
        };
        tokio::join!(say, on_control);
        let outcome = outcome.await.unwrap();
        assert_eq!(outcome.closing.end, End::TargetEnded);
        assert_eq!(outcome.bytes_out as usize, all_out.len() + last.len());
        assert_eq!(outcome.bytes_in as usize, all_in.len());
    }
}

async fn collect<S>(from: &mut S, n: usize) -> Vec<u8>
where
    S: futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    let mut got = Vec::new();
    while got.len() < n {
        if let Message::Binary(piece) = timeout(SOON, from.next()).await.unwrap().unwrap().unwrap() {
            got.extend_from_slice(&piece);
        }
    }
    got
}

fn stream_close(code: u16, reason: &'static str) -> tokio_tungstenite::tungstenite::protocol::CloseFrame {
    tokio_tungstenite::tungstenite::protocol::CloseFrame { code: code.into(), reason: reason.into() }
}

#[tokio::test(start_paused = true)]
async fn what_is_typed_gets_through_while_the_output_is_stuck_and_the_stuck_one_is_given_up() {
    let (host, client, outcome) = pair(4_096, false).await;
    let (mut typed, _never_read) = client.split();
    // The host floods a client that reads nothing, and still hears it.
    let (mut flood, mut received) = host.split();
    let flooding =
        tokio::spawn(async move { while flood.send(Message::binary(vec![0; 60_000])).await.is_ok() {} });
    typed.send(Message::binary(b"ctrl-c".to_vec())).await.unwrap();
    assert_eq!(collect(&mut received, 6).await, b"ctrl-c");
    let begun = Instant::now();
    // The host gets a close frame, and stops.
    let reading = tokio::spawn(async move { while let Some(Ok(_)) = received.next().await {} });
    let outcome = timeout(SOON, outcome).await.unwrap().unwrap();
    assert_eq!(outcome.closing.end, End::Stalled);
    assert!(begun.elapsed() <= Duration::from_secs(61), "{:?}", begun.elapsed());
    reading.await.unwrap();
    flooding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_dead_within_a_minute_and_an_idle_one_is_not() {
    let (mut host, mut client, outcome) = pair(1 << 16, false).await;
    // Both answer pings for an hour.
    let idle = async { tokio::join!(next(&mut host), next(&mut client)) };
    assert!(timeout(Duration::from_secs(3600), idle).await.is_err());
    assert!(!outcome.is_finished());
    // Now the client is there, and says nothing any more.
    let begun = Instant::now();
    let (code, reason) = closed(&mut host).await;
    let took = begun.elapsed();
    assert_eq!((code, reason.as_str()), (4503, "connection to the client was lost"));
    assert!(took <= Duration::from_secs(60), "{took:?}");
    while next(&mut host).await.is_some() {}
    let closing = outcome.await.unwrap().closing;
    assert_eq!(closing.end, End::PeerLost);
    assert!(closing.reason.contains("silent"), "{closing}");
}

#[tokio::test]
async fn the_end_of_one_side_reaches_the_other() {
    let (host, mut client, outcome) = pair(4_096, false).await;
    drop(host);
    assert_eq!(closed(&mut client).await, (4503, "connection to the host was lost".into()));
    while next(&mut client).await.is_some() {}
    assert_eq!(outcome.await.unwrap().closing.end, End::PeerLost);

    let (mut host, mut client, outcome) = pair(4_096, false).await;
    client.close(Some(stream_close(1000, ""))).await.unwrap();
    assert_eq!(closed(&mut host).await, (1001, "the client left".into()));
    while next(&mut host).await.is_some() {}
    while next(&mut client).await.is_some() {}
    assert_eq!(outcome.await.unwrap().closing.reason, "the client left");

    let stop = async { Told::new(End::SessionEnded, "enough") };
    let (mut host, mut client, outcome) = pair_until(4_096, false, stop).await;
    assert_eq!(closed(&mut host).await, (4410, "enough".into()));
    assert_eq!(closed(&mut client).await, (4410, "enough".into()));
    tokio::join!(async { while next(&mut host).await.is_some() {} }, async {
        while next(&mut client).await.is_some() {}
    });
    assert_eq!(outcome.await.unwrap().closing.end, End::SessionEnded);

    // A code that means nothing here is not passed on.
    let (mut host, mut client, _outcome) = pair(4_096, false).await;
    host.close(Some(stream_close(3999, "private"))).await.unwrap();
    assert_eq!(closed(&mut client).await.0, 1001);
}

#[tokio::test]
async fn control_messages_reach_only_clients_that_understand_them() {
    for control in [true, false] {
        let (mut host, mut client, _outcome) = pair(4_096, control).await;
        host.send(Message::text("note")).await.unwrap();
        host.send(Message::binary(b"bytes".to_vec())).await.unwrap();
        client.send(Message::text("back")).await.unwrap();
        if control {
            assert_eq!(next(&mut client).await, Some(Message::text("note")));
        }
        assert_eq!(next(&mut client).await, Some(Message::binary(b"bytes".to_vec())));
        let back = if control { Message::text("back") } else { Message::binary(b"back".to_vec()) };
        assert_eq!(next(&mut host).await, Some(back));
    }
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_gets_a_close_frame_and_the_other_one_about_a_loss() {
    let (host, mut far_host) = websocket(1 << 16, Role::Server, Text::Messages).await;
    let (ours, theirs) = duplex(1 << 20);
    let limits = Limits { sizes: Sizes { frame: 100, message: 100 }, ..Limits::default() };
    let client = WebSocket::new(ours, &[], Role::Server, Text::Bytes, limits);
    let mut far_client = WebSocketStream::from_raw_socket(theirs, OracleRole::Client, None).await;
    let outcome = tokio::spawn(linked(host, client, false, pending()));
    far_client.send(Message::binary(vec![0; 101])).await.unwrap();
    assert_eq!(closed(&mut far_client).await.0, 4413);
    assert_eq!(closed(&mut far_host).await.0, 4503);
    while next(&mut far_host).await.is_some() {}
    drop(far_client);
    assert_eq!(outcome.await.unwrap().closing.end, End::TooLarge);
}

#[tokio::test]
async fn a_parked_leg_hears_of_its_end_and_takes_no_bytes() {
    let (mut host, mut far) = websocket(4_096, Role::Server, Text::Messages).await;
    far.send(Message::binary(b"too early".to_vec())).await.unwrap();
    match host.wait_idle(pending::<()>()).await {
        IdleEnd::Lost(closing, _) => assert_eq!(closing.end, End::ProtocolError),
        other => panic!("{other:?}"),
    }
    let (mut host, far) = websocket(4_096, Role::Server, Text::Messages).await;
    drop(far);
    assert!(matches!(host.wait_idle(pending::<()>()).await, IdleEnd::Lost(..)));
    // A client may speak before its host is there: what it says comes after.
    let (mut client, mut far) = websocket(4_096, Role::Server, Text::Bytes).await;
    far.send(Message::binary(b"early".to_vec())).await.unwrap();
    let patience = tokio::time::sleep(Duration::from_millis(50));
    assert!(client.wait_unread(patience).await.is_ok());
    let (host, mut far_host) = websocket(4_096, Role::Server, Text::Messages).await;
    tokio::spawn(linked(host, client, false, pending()));
    assert_eq!(next(&mut far_host).await, Some(Message::binary(b"early".to_vec())));
}

#[tokio::test]
async fn half_close_ends_when_both_have_said_it_in_either_order() {
    for target_first in [true, false] {
        let (agent, mut far) = websocket(4_096, Role::Client, Text::Messages).await;
        let (local, mut target) = duplex(4_096);
        let (output, input) = tokio::io::split(local);
        let on_control =
            |text: &str| if text == r#"{"type":"eof"}"# { ControlEffect::Eof } else { ControlEffect::None };
        let side = Local { output, input: Some(input), at_eof: AtEof::HalfClose, control: None };
        let bridged = tokio::spawn(async move {
            let (outcome, ended) =
                bridge(agent, side, on_control, std::future::ready(Ok(None)), pending()).await;
            ended.close().await;
            outcome
        });
        let eof = Message::text(r#"{"type":"eof"}"#);
        if target_first {
            target.write_all(b"mine").await.unwrap();
            target.shutdown().await.unwrap();
            assert_eq!(next(&mut far).await, Some(Message::binary(b"mine".to_vec())));
            assert_eq!(next(&mut far).await, Some(eof.clone()));
            far.send(Message::binary(b"yours".to_vec())).await.unwrap();
            far.send(eof).await.unwrap();
            let mut received = String::new();
            target.read_to_string(&mut received).await.unwrap();
            assert_eq!(received, "yours");
        } else {
            far.send(Message::binary(b"yours".to_vec())).await.unwrap();
            far.send(eof.clone()).await.unwrap();
            let mut received = String::new();
            target.read_to_string(&mut received).await.unwrap();
            assert_eq!(received, "yours");
            target.write_all(b"mine").await.unwrap();
            drop(target);
            assert_eq!(next(&mut far).await, Some(Message::binary(b"mine".to_vec())));
            assert_eq!(next(&mut far).await, Some(eof));
        }
        assert_eq!(closed(&mut far).await.0, 1000);
        while next(&mut far).await.is_some() {}
        assert_eq!(bridged.await.unwrap().closing.end, End::TargetEnded);
    }
}

#[tokio::test]
async fn credit_pauses_a_target_and_final_message_come_before_the_close() {
    let (agent, mut far) = websocket(1 << 20, Role::Client, Text::Messages).await;
    let (output, mut target) = duplex(1 << 16);
    let on_control = |text: &str| text.parse().map_or(ControlEffect::None, ControlEffect::Ack);
    let side = Local { output, input: None::<DuplexStream>, at_eof: AtEof::End, control: None };
    let words = std::future::ready(Ok(Some("last words".to_owned())));
    tokio::spawn(async move { bridge(agent, side, on_control, words, pending()).await.1.close().await });
    far.send(Message::text("0")).await.unwrap();
    let flood = tokio::spawn(async move {
        target.write_all(&vec![1; 1_000_000]).await.unwrap();
    });
    let mut got = 0;
    while let Ok(Some(Message::Binary(piece))) = timeout(Duration::from_millis(200), next(&mut far)).await {
        got += piece.len();
    }
    let window = stream::credit::WINDOW as usize;
    assert!((window..window + 65_536).contains(&got), "{got}");
    far.send(Message::text(got.to_string())).await.unwrap();
    far.send(Message::text("1000000")).await.unwrap();
    while got < 1_000_000 {
        let more = bytes(&mut far, 1).await.len();
        got += more;
        far.send(Message::text(more.to_string())).await.unwrap();
    }
    flood.await.unwrap();
    assert_eq!(next(&mut far).await, Some(Message::text("last words")));
    assert_eq!(closed(&mut far).await.0, 1000);
}
