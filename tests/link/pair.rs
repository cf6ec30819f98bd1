//! A host and a client linked, with tungstenite at both far ends.

use std::future::pending;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use protocol::close::CloseFrame;
use protocol::end::{End, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use websocket::connection::Limits;
use websocket::reader::{Sizes, Text};

use crate::support::{Dice, Far, Got, closing, limits, link_to_the_end, read_all, send, soon, websocket};

struct Linked {
    host: Far,
    client: Far,
    relay: JoinHandle<Outcome>,
    stop: oneshot::Sender<CloseFrame>,
}

async fn linked(room: usize, control: bool, limits: Limits) -> Linked {
    linked_with([room, room], control, limits).await
}

async fn linked_with(room: [usize; 2], control: bool, limits: Limits) -> Linked {
    let (host_socket, host) = websocket(room[0], Text::Messages, limits).await;
    let text = if control { Text::Messages } else { Text::Bytes };
    let (client_socket, client) = websocket(room[1], text, limits).await;
    let (stop, stopped) = oneshot::channel();
    let stopped = async move {
        match stopped.await {
            Ok(closing) => closing,
            Err(_) => pending().await,
        }
    };
    let relay = tokio::spawn(link_to_the_end(host_socket, client_socket, control, stopped));
    Linked { host, client, relay, stop }
}

/// Sends all bytes in random messages, while reading whatever comes, until `read` bytes came.
async fn converse(far: &mut Far, bytes: &[u8], read: usize, mut dice: Dice, most: usize) -> Vec<u8> {
    let (mut sink, mut stream) = far.split();
    let sending = async {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = (1 + dice.below(most)).min(rest.len());
            sink.feed(Message::binary(rest[..n].to_vec())).await.unwrap();
            if dice.one_in(3) {
                sink.send(Message::Ping(vec![1, 2].into())).await.unwrap();
            }
            rest = &rest[n..];
        }
        sink.flush().await.unwrap();
    };
    let reading = async {
        let mut got = vec![];
        while got.len() < read {
            if let Message::Binary(bytes) = stream.next().await.unwrap().unwrap() {
                got.extend_from_slice(&bytes);
            }
        }
        got
    };
    tokio::join!(sending, reading).1
}

#[tokio::test]
async fn a_hundred_sessions_carry_every_byte_both_ways_and_then_the_close() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let room = dice.of(&[1, 3, 64, 5000, 1 << 20]);
        let most = if room < 64 { 300 } else { 100_000 };
        let (out, inn) = (dice.below(most * 3), dice.below(most * 3));
        let (out, inn) = (dice.bytes(out), dice.bytes(inn));
        let mut l = linked(room, dice.one_in(2), limits()).await;
        let (at_host, at_client) = soon(async {
            tokio::join!(
                converse(&mut l.host, &out, inn.len(), Dice(seed ^ 1), most),
                converse(&mut l.client, &inn, out.len(), Dice(seed ^ 2), most),
            )
        })
        .await;
        assert!(at_host == inn && at_client == out, "seed {seed}");
        // The host's last words, and the close right behind them.
        let last = dice.bytes(1000);
        let code = dice.of(&[1000, 4502]);
        let host = async {
            l.host.feed(Message::binary(last.clone())).await.unwrap();
            l.host.send(closing(code, "over")).await.unwrap();
            read_all(&mut l.host).await
        };
        let (host, client) = soon(async { tokio::join!(host, read_all(&mut l.client)) }).await;
        assert_eq!(client.bytes, last, "seed {seed}");
        let words = if code == 1000 { "target ended" } else { "over" };
        assert_eq!(client.close, Some((code, words.into())), "seed {seed}");
        assert_eq!(host.close.unwrap().0, code, "seed {seed}");
        let outcome = soon(l.relay).await.unwrap();
        assert_eq!(outcome.closing.end.code(), code);
        assert_eq!(
            (outcome.bytes_in, outcome.bytes_out),
            (inn.len() as u64, (out.len() + last.len()) as u64)
        );
    }
}

#[tokio::test]
async fn the_end_of_the_client_is_echoed_to_it_and_told_to_the_host() {
    for (close, echo) in [
        (closing(1000, "bye"), Some(1000)),
        (closing(3999, "mine"), Some(3999)),
        (Message::Close(None), None),
    ] {
        let mut l = linked(16, false, limits()).await;
        send(&mut l.client, b"last words").await;
        l.client.send(close).await.unwrap();
        let (host, client) =
            soon(async { tokio::join!(read_all(&mut l.host), read_all(&mut l.client)) }).await;
        assert_eq!(host.bytes, b"last words");
        assert_eq!(host.close.unwrap(), (1001, "the client left".into()));
        assert!(client.clean);
        assert_eq!(client.close.map(|(code, _)| code), echo);
        assert_eq!(soon(l.relay).await.unwrap().closing.end, End::PeerLeft);
    }
}

#[tokio::test]
async fn close_codes_of_the_host_reach_the_client() {
    let cases = [
        (closing(1000, ""), 1000, "target ended"),
        (closing(4504, "no answer"), 4504, "no answer"),
        // As agents before 0.2.0 said it.
        (closing(1000, "target failed: /run/pipe does not exist"), 4502, "the target failed"),
        (closing(1002, "x"), 1001, "the other side left"),
        (closing(3001, "x"), 1001, "the other side closed with 3001 x"),
        (Message::Close(None), 1001, "the other side left"),
    ];
    for (close, code, reason) in cases {
        let mut l = linked(4096, false, limits()).await;
        l.host.send(close).await.unwrap();
        let client = soon(read_all(&mut l.client)).await;
        assert_eq!(client.close, Some((code, reason.into())));
        soon(read_all(&mut l.host)).await;
        soon(l.relay).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_side_was_read_to_the_end_and_the_other_is_told_whose_connection_was_lost() {
    for host_vanishes in [true, false] {
        let Linked { host, client, relay, stop: _stop } = linked(100_000, false, limits()).await;
        let (mut gone, mut left) = if host_vanishes { (host, client) } else { (client, host) };
        send(&mut gone, &[5; 50_000]).await;
        drop(gone);
        let got = soon(read_all(&mut left)).await;
        assert_eq!(got.bytes.len(), 50_000);
        let words = if host_vanishes {
            "connection to the host was lost"
        } else {
            "connection to the client was lost"
        };
        assert_eq!(got.close, Some((4503, words.into())));
        let closing = soon(relay).await.unwrap().closing;
        assert_eq!(closing.end, End::PeerLost);
        assert!(closing.reason.starts_with(words), "{closing}");
    }
}

#[tokio::test]
async fn what_a_host_sent_before_its_connection_broke_is_delivered_with_its_reason() {
    // The client types into a connection that takes no more, while the host's last words, more than
    // one buffer of them, are still to be read.
    for seed in 0..20 {
        let l = linked(300_000, false, limits()).await;
        let Linked { mut host, mut client, relay, stop: _stop } = l;
        host.feed(Message::binary(vec![6; 200_000])).await.unwrap();
        host.send(closing(4410, "ended")).await.unwrap();
        drop(host);
        for _ in 0..seed {
            if client.feed(Message::binary(vec![1; 1000])).await.is_err() {
                break;
            }
        }
        let _ = client.flush().await;
        let got = soon(read_all(&mut client)).await;
        assert_eq!(got.bytes.len(), 200_000, "seed {seed}");
        assert_eq!(got.close, Some((4410, "ended".into())), "seed {seed}");
        assert_eq!(soon(relay).await.unwrap().closing.end, End::SessionEnded);
    }
}

#[tokio::test]
async fn stop_tells_both_even_in_the_middle_of_a_frame() {
    for busy in [false, true] {
        let mut l = linked(200, false, limits()).await;
        if busy {
            // More than fits: a frame to the client is half out when the stop comes.
            let (near, far) = (&mut l.host, vec![3; 3000]);
            let sent = tokio::time::timeout(Duration::from_millis(50), send(near, &far)).await;
            assert!(sent.is_err());
        }
        l.stop.send(CloseFrame::new(End::SessionEnded, "by an administrator")).unwrap();
        let (host, client) =
            soon(async { tokio::join!(read_all(&mut l.host), read_all(&mut l.client)) }).await;
        for got in [host, client] {
            assert_eq!(got.close, Some((4410, "by an administrator".into())), "busy {busy}");
        }
        assert_eq!(soon(l.relay).await.unwrap().closing.end, End::SessionEnded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_client_ends_the_stream_after_the_limit_and_typing_works_until_then() {
    let l = linked(4000, false, Limits::default()).await;
    let Linked { host, client, relay, stop: _stop } = l;
    let begin = Instant::now();
    let (mut host_out, mut host_in) = host.split();
    let flood =
        tokio::spawn(async move { while host_out.send(Message::binary(vec![1; 1000])).await.is_ok() {} });
    // The client only types; it reads nothing.
    let (mut typing, _never_read) = client.split();
    let typed = tokio::spawn(async move {
        let mut typed = 0;
        while typing.send(Message::text("k")).await.is_ok() {
            typed += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        typed
    });
    let (mut keys, mut close) = (0, None);
    while let Some(Ok(message)) = host_in.next().await {
        match message {
            Message::Binary(bytes) => keys += bytes.len(),
            Message::Close(frame) => close = frame.map(|frame| u16::from(frame.code)),
            _ => {}
        }
    }
    assert!(keys >= 30, "only {keys} keys came through");
    assert_eq!(close, Some(4414));
    assert_eq!(relay.await.unwrap().closing.end, End::Stalled);
    assert!((30..=33).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert!(typed.await.unwrap() >= keys);
    flood.abort();
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_not_a_stalled_one() {
    let l = linked_with([4000, 64], false, Limits::default()).await;
    let Linked { mut host, client, relay, stop: _stop } = l;
    let sending = tokio::spawn(async move {
        send(&mut host, &[9; 600]).await;
        host.send(closing(1000, "")).await.unwrap();
        read_all(&mut host).await
    });
    // 20 bytes every 25 seconds: more than ten minutes in all.
    let mut socket = client.into_inner();
    let mut wire = vec![];
    let mut piece = [0; 20];
    loop {
        tokio::time::sleep(Duration::from_secs(25)).await;
        // A sign of life, as a pong would be.
        let _ = socket.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).await;
        match socket.read(&mut piece).await.unwrap() {
            0 => break,
            n => wire.extend_from_slice(&piece[..n]),
        }
    }
    assert_eq!(wire.iter().filter(|byte| **byte == 9).count(), 600);
    assert_eq!(relay.await.unwrap().closing.end, End::TargetEnded);
    assert!(sending.await.unwrap().clean);
}

#[tokio::test(start_paused = true)]
async fn a_silent_side_is_dead_within_three_intervals_and_a_living_one_is_not() {
    for dead_host in [true, false] {
        for busy in [false, true] {
            let l = linked(1 << 20, false, Limits::default()).await;
            let begin = Instant::now();
            // The dead one keeps its connection open and reads and sends nothing.
            let (dead, mut alive) = if dead_host { (l.host, l.client) } else { (l.client, l.host) };
            let mut dead = dead.into_inner();
            let swallow = tokio::spawn(async move {
                let mut sink = vec![0; 1 << 16];
                while dead.read(&mut sink).await.is_ok_and(|n| n > 0) {}
            });
            let got = if busy {
                // Data for the dead one must not reset its timer.
                let (mut out, mut inn) = alive.split();
                let feed = tokio::spawn(async move {
                    while out.send(Message::binary(vec![1; 10])).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                });
                let mut close = None;
                while let Some(Ok(message)) = inn.next().await {
                    if let Message::Close(frame) = message {
                        close = frame.map(|frame| u16::from(frame.code));
                    }
                }
                feed.abort();
                close
            } else {
                read_all(&mut alive).await.close.map(|close| close.0)
            };
            assert_eq!(got, Some(4503), "dead host {dead_host}, busy {busy}");
            let after = begin.elapsed();
            assert!(
                after > Duration::from_secs(40) && after <= Duration::from_secs(61),
                "dead host {dead_host}, busy {busy}: {after:?}"
            );
            assert!(l.relay.await.unwrap().closing.reason.contains("silent"));
            swallow.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn both_alive_and_idle_stay_linked_for_hours() {
    let mut l = linked(64, false, Limits::default()).await;
    let reading = tokio::time::timeout(Duration::from_secs(6 * 3600), async {
        tokio::join!(read_all(&mut l.host), read_all(&mut l.client))
    });
    assert!(reading.await.is_err());
    assert!(!l.relay.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_flood_does_not_keep_the_pings_back() {
    let l = linked(1 << 16, false, Limits::default()).await;
    let Linked { mut host, mut client, relay: _relay, stop: _stop } = l;
    let flood = tokio::spawn(async move {
        loop {
            // Always something to read, and time passes.
            if host.feed(Message::binary(vec![1; 4000])).await.is_err() {
                break;
            }
            if host.flush().await.is_err() {
                break;
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    });
    let begin = Instant::now();
    loop {
        match soon(client.next()).await.unwrap().unwrap() {
            Message::Ping(_) => break,
            _ => assert!(begin.elapsed() < Duration::from_secs(21), "no ping for {:?}", begin.elapsed()),
        }
    }
    flood.abort();
}

#[tokio::test]
async fn control_messages_of_the_host_reach_only_clients_that_speak_them() {
    for control in [false, true] {
        let mut l = linked(4096, control, limits()).await;
        let note = r#"{"type":"exit","code":3}"#;
        l.host.send(Message::text(note)).await.unwrap();
        send(&mut l.host, b"bytes").await;
        l.client.send(Message::text("{}")).await.unwrap();
        send(&mut l.client, b"typed").await;
        let first = soon(l.host.next()).await.unwrap().unwrap();
        l.host.send(closing(1000, "")).await.unwrap();
        let got = soon(read_all(&mut l.client)).await;
        if control {
            assert_eq!(first, Message::text("{}"));
            assert_eq!(
                got,
                Got {
                    bytes: b"bytes".to_vec(),
                    texts: vec![note.into()],
                    close: Some((1000, "target ended".into())),
                    clean: true,
                }
            );
        } else {
            let Message::Binary(bytes) = first else { panic!("{first:?}") };
            assert!(b"{}typed".starts_with(&bytes));
            assert_eq!((got.bytes.as_slice(), got.texts.len()), (&b"bytes"[..], 0));
        }
        soon(read_all(&mut l.host)).await;
        soon(l.relay).await.unwrap();
    }
}

#[tokio::test]
async fn too_large_is_told_to_the_offender_and_the_other_is_told_of_a_loss() {
    let small = Limits { sizes: Sizes { frame: 1000, message: 1500 }, ..limits() };
    for host_offends in [true, false] {
        for pieces in [1, 2] {
            let l = linked(8192, false, small).await;
            let (mut bad, mut good) = if host_offends { (l.host, l.client) } else { (l.client, l.host) };
            if pieces == 1 {
                send(&mut bad, &[1; 1001]).await;
            } else {
                use tokio_tungstenite::tungstenite::protocol::frame::Frame;
                use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
                for (i, opcode) in [Data::Binary, Data::Continue].into_iter().enumerate() {
                    let frame = Frame::message(vec![2; 800], OpCode::Data(opcode), i == 1);
                    bad.send(Message::Frame(frame)).await.unwrap();
                }
            }
            let (bad, good) = soon(async { tokio::join!(read_all(&mut bad), read_all(&mut good)) }).await;
            assert_eq!(bad.close.unwrap().0, 4413);
            assert_eq!(good.close.unwrap().0, 4503);
            assert_eq!(good.bytes.len(), if pieces == 1 { 0 } else { 800 });
            assert_eq!(soon(l.relay).await.unwrap().closing.end, End::TooLarge);
        }
    }
}

#[tokio::test]
async fn a_broken_frame_is_a_protocol_error_for_the_one_who_sent_it() {
    let mut l = linked(4096, false, limits()).await;
    let mut socket = l.client.into_inner();
    // Two good bytes, then a reserved opcode.
    socket.write_all(&[0x82, 0x82, 0, 0, 0, 0, b'o', b'k', 0x83, 0x80]).await.unwrap();
    let got = soon(read_all(&mut l.host)).await;
    assert_eq!((got.bytes.as_slice(), got.close.unwrap().0), (&b"ok"[..], 4503));
    let mut answer = vec![];
    soon(socket.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(&answer[..4], [0x88, answer[1], 0x03, 0xea]);
    assert_eq!(soon(l.relay).await.unwrap().closing.end, End::ProtocolError);
}
