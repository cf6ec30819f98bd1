//! A websocket and something local.

use std::future::{pending, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use protocol::close::CloseFrame;
use protocol::control::FromClient;
use protocol::end::{End, Outcome};
use stream::bridge::{AtEof, ControlEffect, Local};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use websocket::connection::{Limits, WebSocket};
use websocket::frame::Role;
use websocket::reader::Text;

use crate::support::{Dice, Far, bridge_to_the_end, closing, limits, read_all, send, soon, websocket};

fn on_control(text: &str) -> ControlEffect {
    match serde_json::from_str(text) {
        Ok(FromClient::Eof) => ControlEffect::Eof,
        Ok(FromClient::Ack { bytes }) => ControlEffect::Ack(bytes),
        _ => ControlEffect::None,
    }
}

/// A bridge between a websocket and a local socket of `room` bytes; our end of the local socket.
fn bridged(
    websocket: WebSocket<DuplexStream>,
    room: usize,
    at_eof: AtEof,
) -> (DuplexStream, JoinHandle<Outcome>) {
    let (near, far) = duplex(room);
    let (output, input) = split(near);
    let local = Local { output, input: Some(input), at_eof, control: None };
    (far, tokio::spawn(bridge_to_the_end(websocket, local, on_control, ready(Ok(None)), pending())))
}

async fn one(room: usize, local_room: usize, at_eof: AtEof) -> (Far, DuplexStream, JoinHandle<Outcome>) {
    let (websocket, far) = websocket(room, Text::Messages, limits()).await;
    let (local, done) = bridged(websocket, local_room, at_eof);
    (far, local, done)
}

/// Two bridges back to back, as an agent and `open` are.
fn both(room: usize) -> [(DuplexStream, JoinHandle<Outcome>); 2] {
    let (a, b) = duplex(room);
    [(a, Role::Server), (b, Role::Client)].map(|(socket, role)| {
        bridged(WebSocket::new(socket, &[], role, Text::Messages, limits()), 4096, AtEof::HalfClose)
    })
}

#[tokio::test]
async fn half_closes_in_either_order_carry_every_byte() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let [(mut a, a_done), (mut b, b_done)] = both(dice.of(&[1, 50, 100_000]));
        let (len_a, len_b) = (dice.below(20_000), dice.below(20_000));
        let (from_a, from_b) = (dice.bytes(len_a), dice.bytes(len_b));
        soon(async {
            let mut at_b = vec![];
            // One side sends and ends; only then the other answers.
            let first = async {
                a.write_all(&from_a).await.unwrap();
                a.shutdown().await.unwrap()
            };
            tokio::join!(first, async { b.read_to_end(&mut at_b).await.unwrap() });
            assert!(at_b == from_a, "seed {seed}");
            let mut at_a = vec![];
            let second = async {
                b.write_all(&from_b).await.unwrap();
                b.shutdown().await.unwrap()
            };
            tokio::join!(second, async { a.read_to_end(&mut at_a).await.unwrap() });
            assert!(at_a == from_b, "seed {seed}");
            for done in [a_done, b_done] {
                assert_eq!(done.await.unwrap().closing.end, End::TargetEnded);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn both_sides_may_end_at_once() {
    for _ in 0..50 {
        let [(mut a, a_done), (mut b, b_done)] = both(64);
        soon(async {
            let (mut at_a, mut at_b) = (vec![], vec![]);
            tokio::join!(
                async {
                    a.write_all(b"to b").await.unwrap();
                    a.shutdown().await.unwrap();
                    a.read_to_end(&mut at_a).await.unwrap()
                },
                async {
                    b.write_all(b"to a").await.unwrap();
                    b.shutdown().await.unwrap();
                    b.read_to_end(&mut at_b).await.unwrap()
                },
            );
            assert_eq!((&at_a[..], &at_b[..]), (&b"to a"[..], &b"to b"[..]));
            tokio::try_join!(a_done, b_done).unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn final_message_come_after_the_bytes_and_before_the_close() {
    let (websocket, mut far) = websocket(128, Text::Messages, limits()).await;
    let (near, mut process) = duplex(64);
    let local = Local { output: near, input: None::<DuplexStream>, at_eof: AtEof::End, control: None };
    let final_message = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Some(r#"{"type":"exit","code":0}"#.to_owned()))
    };
    let done = tokio::spawn(bridge_to_the_end(websocket, local, on_control, final_message, pending()));
    let writing = async {
        process.write_all(&[4; 30_000]).await.unwrap();
        process.shutdown().await.unwrap()
    };
    let (got, ()) = soon(async { tokio::join!(read_all(&mut far), writing) }).await;
    assert_eq!((got.bytes.len(), got.texts.len()), (30_000, 1));
    assert_eq!(got.close, Some((1000, "target ended".into())));
    assert_eq!(soon(done).await.unwrap().bytes_out, 30_000);
}

#[tokio::test]
async fn the_last_bytes_of_a_peer_reach_the_input_before_its_close_ends_it() {
    let (mut far, mut local, done) = one(1 << 20, 16, AtEof::End).await;
    far.feed(Message::binary(vec![8; 100_000])).await.unwrap();
    far.send(closing(1000, "")).await.unwrap();
    let mut got = vec![];
    soon(local.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got.len(), 100_000);
    assert!(soon(read_all(&mut far)).await.clean);
    assert_eq!(soon(done).await.unwrap().bytes_in, 100_000);
}

#[tokio::test]
async fn the_last_bytes_of_a_broken_connection_reach_the_input() {
    let (mut far, mut local, done) = one(1 << 20, 16, AtEof::End).await;
    far.feed(Message::binary(vec![8; 200_000])).await.unwrap();
    far.send(closing(4410, "ended")).await.unwrap();
    drop(far);
    // The way out fails at once; what came in is still delivered.
    local.write_all(b"output").await.unwrap();
    let mut got = vec![];
    soon(local.read_to_end(&mut got)).await.unwrap();
    assert_eq!(got.len(), 200_000);
    assert_eq!(soon(done).await.unwrap().closing.end, End::SessionEnded);
}

#[tokio::test]
async fn input_that_fails_leaves_the_output_alone() {
    let (websocket, mut far) = websocket(4096, Text::Messages, limits()).await;
    let (output, mut process) = duplex(64);
    let (input, gone) = duplex(64);
    drop(gone);
    let local = Local { output, input: Some(input), at_eof: AtEof::End, control: None };
    let done = tokio::spawn(bridge_to_the_end(websocket, local, on_control, ready(Ok(None)), pending()));
    for _ in 0..3 {
        send(&mut far, b"nobody reads this").await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    process.write_all(b"still here").await.unwrap();
    drop(process);
    let got = soon(read_all(&mut far)).await;
    assert_eq!((got.bytes.as_slice(), got.close.unwrap().0), (&b"still here"[..], 1000));
    assert_eq!(soon(done).await.unwrap().bytes_in, 51);
}

#[tokio::test]
async fn pings_of_both_kinds_work_while_the_input_is_blocked() {
    tokio::time::pause();
    let [(mut a, a_done), (b, b_done)] = both(1 << 20);
    // b reads nothing: its bridge is stuck in the input, far behind what a sent.
    tokio::time::timeout(Duration::from_secs(5), a.write_all(&vec![1; 60_000])).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!a_done.is_finished() && !b_done.is_finished());
    drop(b);
    let mut rest = vec![];
    a.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn credit_bounds_what_is_sent_and_acks_in_the_middle_of_a_frame_count() {
    for room in [777, 1 << 20] {
        let (mut far, local, done) = one(room, 1 << 16, AtEof::End).await;
        let mut local = local;
        let total: usize = 3 << 20;
        let writing = tokio::spawn(async move {
            local.write_all(&vec![2; total]).await.unwrap();
        });
        far.send(Message::text(r#"{"type":"ack","bytes":0}"#)).await.unwrap();
        soon(async {
            let mut got = 0;
            // Nothing is acknowledged: it stops at the window, give or take one piece.
            while let Ok(message) = tokio::time::timeout(Duration::from_millis(300), far.next()).await {
                if let Message::Binary(bytes) = message.unwrap().unwrap() {
                    got += bytes.len();
                }
            }
            assert!((256 << 10..=(256 + 64) << 10).contains(&got), "{got}");
            far.send(Message::text(format!(r#"{{"type":"ack","bytes":{got}}}"#))).await.unwrap();
            while got < total {
                if let Message::Binary(bytes) = far.next().await.unwrap().unwrap() {
                    got += bytes.len();
                    let ack = format!(r#"{{"type":"ack","bytes":{}}}"#, bytes.len());
                    far.send(Message::text(ack)).await.unwrap();
                }
            }
        })
        .await;
        writing.await.unwrap();
        assert_eq!(soon(read_all(&mut far)).await.close.unwrap().0, 1000);
        assert_eq!(soon(done).await.unwrap().bytes_out, total as u64);
    }
}

#[tokio::test]
async fn an_ack_for_half_a_frame_is_not_lost() {
    let (near, mut socket) = duplex(1000);
    let websocket = WebSocket::new(near, &[], Role::Server, Text::Messages, limits());
    let (mut local, _done) = bridged(websocket, 1 << 16, AtEof::End);
    let total: usize = 2 << 20;
    tokio::spawn(async move {
        let _ = local.write_all(&vec![2; total]).await;
        pending::<()>().await;
    });
    // Acknowledges every thousand bytes as they come, headers and all, never mind the frames.
    soon(async {
        let (mut got, mut piece) = (0, [0; 1000]);
        while got < total {
            got += socket.read(&mut piece).await.unwrap();
            let mut ack = vec![0x81, 0x80 | 27, 0, 0, 0, 0];
            ack.extend_from_slice(br#"{"type":"ack","bytes":1000}"#);
            socket.write_all(&ack).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn stop_is_told_to_the_peer_even_in_the_middle_of_a_frame() {
    let (websocket, mut far) = websocket(100, Text::Messages, limits()).await;
    let (near, mut process) = duplex(1 << 16);
    process.write_all(&[1; 60_000]).await.unwrap();
    let local = Local { output: near, input: None::<DuplexStream>, at_eof: AtEof::End, control: None };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        CloseFrame::new(End::SessionEnded, "time is up")
    };
    let done = tokio::spawn(bridge_to_the_end(websocket, local, on_control, ready(Ok(None)), stop));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let got = soon(read_all(&mut far)).await;
    assert_eq!(got.close, Some((4410, "time is up".into())));
    assert_eq!(soon(done).await.unwrap().closing.end, End::SessionEnded);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_stalled_and_a_silent_one_is_dead() {
    let (websocket, _far) = websocket(100, Text::Messages, Limits::default()).await;
    let (mut local, done) = bridged(websocket, 4096, AtEof::End);
    local.write_all(&[1; 1000]).await.unwrap();
    assert_eq!(done.await.unwrap().closing.end, End::Stalled);

    let (websocket, _far) = self::websocket(100, Text::Messages, Limits::default()).await;
    let (_local, done) = bridged(websocket, 4096, AtEof::End);
    let begin = tokio::time::Instant::now();
    assert!(done.await.unwrap().closing.reason.contains("silent"));
    assert!(begin.elapsed() <= Duration::from_secs(61));
}
