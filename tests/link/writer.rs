//! What the writer sends, tungstenite accepts; stalls and torn frames.

use std::time::Duration;

use protocol::close::CloseFrame;
use protocol::end::End;
use tokio::io::{AsyncReadExt, duplex};
use tokio_tungstenite::tungstenite::protocol::Role as TheirRole;
use tokio_tungstenite::tungstenite::{Error, Message};
use websocket::frame::Role;
use websocket::writer::{FrameWriter, WriteError};

use crate::reader::theirs;
use crate::support::{Dice, Sink};

#[tokio::test]
async fn what_is_written_in_any_pieces_tungstenite_reads() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let role = dice.of(&[Role::Server, Role::Client]);
        let (mut wire, mut said) = (vec![], vec![]);
        let most = dice.of(&[1, 5, 1000, 1 << 20]);
        let mut writer = FrameWriter::new(
            Sink { bytes: &mut wire, dice: Dice(seed), most },
            role,
            Duration::from_secs(30),
        );
        for _ in 0..dice.below(20) {
            let len = dice.of(&[0, 1, 125, 126, 1000, 65535, 65536][..if most < 10 { 5 } else { 7 }]);
            let payload = dice.bytes(len);
            match dice.below(4) {
                0 => {
                    writer.text("é".repeat(len / 2)).await.unwrap();
                    said.push(Message::text("é".repeat(len / 2)));
                }
                1 => {
                    writer.ping().await.unwrap();
                    said.push(Message::Ping(vec![].into()));
                }
                2 => {
                    let payload = payload[..len.min(125)].to_vec();
                    writer.pong(payload.clone()).await.unwrap();
                    said.push(Message::Pong(payload.into()));
                }
                _ => {
                    writer.bytes(&mut payload.clone()).await.unwrap();
                    said.push(Message::binary(payload));
                }
            }
        }
        let reason = "ü".repeat(1 + dice.below(80));
        writer.close(&CloseFrame::by_platform(&reason)).await.unwrap();
        // Nothing follows a close frame, not even another.
        writer.close(&End::PeerLeft.into()).await.unwrap();
        writer.echo(Some(1000)).await.unwrap();
        assert!(matches!(writer.ping().await, Err(WriteError::Io(_))));

        let their_role = if role == Role::Client { TheirRole::Server } else { TheirRole::Client };
        let mut far = theirs(wire, their_role);
        for message in said {
            assert_eq!(far.read().unwrap(), message, "seed {seed}");
        }
        let Message::Close(Some(close)) = far.read().unwrap() else { panic!("seed {seed}: no close") };
        assert_eq!(u16::from(close.code), 4410);
        assert!(reason.starts_with(close.reason.as_str()) && close.reason.len() >= reason.len().min(122));
        assert!(matches!(far.read(), Err(Error::Io(_) | Error::ConnectionClosed)));
    }
}

#[tokio::test]
async fn an_echo_repeats_the_code_and_codes_that_mean_none_are_never_sent() {
    for (code, wire) in [
        (None, vec![0x88, 0]),
        (Some(1005), vec![0x88, 0]),
        (Some(1006), vec![0x88, 0]),
        (Some(3000), vec![0x88, 2, 0x0b, 0xb8]),
    ] {
        let mut sent = vec![];
        let sink = Sink { bytes: &mut sent, dice: Dice(1), most: 9 };
        FrameWriter::new(sink, Role::Server, Duration::from_secs(1)).echo(code).await.unwrap();
        assert_eq!(sent, wire);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_is_not_stalled() {
    let (near, mut far) = duplex(1);
    let reading = tokio::spawn(async move {
        let mut bytes = 0;
        while far.read_u8().await.is_ok() {
            bytes += 1;
            tokio::time::sleep(Duration::from_secs(29)).await;
        }
        bytes
    });
    let mut writer = FrameWriter::new(near, Role::Server, Duration::from_secs(30));
    writer.bytes(&mut [1; 100]).await.unwrap();
    drop(writer);
    assert_eq!(reading.await.unwrap(), 102);
}

#[tokio::test(start_paused = true)]
async fn after_a_torn_frame_nothing_is_sent() {
    let (near, mut far) = duplex(10);
    let mut writer = FrameWriter::new(near, Role::Server, Duration::from_secs(30));
    let before = tokio::time::Instant::now();
    assert!(matches!(writer.bytes(&mut [1; 100]).await, Err(WriteError::Stalled(_))));
    assert_eq!(before.elapsed().as_secs(), 30);
    assert!(writer.is_torn());
    assert!(writer.text("more".into()).await.is_err());
    writer.close(&End::PeerLeft.into()).await.unwrap();
    drop(writer);
    let mut bytes = vec![];
    far.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_frame_is_a_torn_one() {
    let (near, _far) = duplex(10);
    let mut writer = FrameWriter::new(near, Role::Client, Duration::from_secs(30));
    let cancelled = tokio::time::timeout(Duration::from_secs(1), writer.bytes(&mut [1; 100])).await;
    assert!(cancelled.is_err() && writer.is_torn());
}
