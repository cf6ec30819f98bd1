//! What the test suites and strict clients of others expect of a websocket server.

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

use crate::world::{Client, SOON, World};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";

/// A client without `stream.v1` that trusts the relay's own certificate.
async fn open(world: &World) -> Client {
    let request = world.url("cat").await.into_client_request().unwrap();
    let ca = world.tls.then(|| world.path("relay/tls.crt"));
    let connector = match ca {
        Some(ca) => Connector::Rustls(service::tls::client_config(Some(&ca)).unwrap()),
        None => Connector::Plain,
    };
    let connected = connect_async_tls_with_config(request, None, false, Some(connector));
    let (socket, response) = timeout(SOON, connected).await.unwrap().unwrap();
    Client { socket, headers: response.headers().clone() }
}

fn frame(opcode: Data, payload: impl Into<Vec<u8>>, is_final: bool) -> Frame {
    Frame::message(payload.into(), OpCode::Data(opcode), is_final)
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_gets_the_end_of_its_connection_with_the_close_frame() {
    for tls in [false, true] {
        let mut world = World::new();
        world.targets = CAT.into();
        world.tls = tls;
        if tls {
            world.certificate("relay/tls", &format!("IP:{}", world.ip));
        }
        world.start().await;
        let reserved =
            FrameHeader { rsv1: true, opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        let mistakes = [
            (vec![Frame::from_payload(reserved, b"x".to_vec().into())], 1002),
            (vec![frame(Data::Text, *b"caf\xc3", false), frame(Data::Continue, *b"(", true)], 1007),
            (vec![frame(Data::Binary, vec![0; 2 << 20], true)], 4413),
        ];
        for (frames, code) in mistakes {
            let mut client = open(&world).await;
            for frame in frames {
                client.socket.feed(Message::Frame(frame)).await.unwrap();
            }
            // The relay may have closed already.
            let _ = client.socket.flush().await;
            // Waits for less than `close_wait`.
            client.closed_with(code).await;
        }
    }
}

#[tokio::test]
async fn ten_pings_that_come_together_have_ten_pongs() {
    let world = World::with(CAT).await;
    for _ in 0..5 {
        let mut client = world.open("cat").await;
        client.send(b"linked\n".to_vec()).await;
        client.read_until("linked").await;
        for number in 0..10 {
            client.socket.feed(Message::Ping(vec![number].into())).await.unwrap();
        }
        client.socket.flush().await.unwrap();
        for number in 0..10 {
            let pong = timeout(SOON, client.socket.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(pong, Message::Pong(vec![number].into()));
        }
    }
}

#[tokio::test]
async fn text_arrives_as_bytes_and_binary_may_be_anything() {
    let world = World::with(CAT).await;
    let mut client = world.open("cat").await;
    // A character may be cut by fragments.
    client.socket.feed(Message::Frame(frame(Data::Text, *b"caf\xc3", false))).await.unwrap();
    client.socket.feed(Message::Frame(frame(Data::Continue, *b"\xa9", true))).await.unwrap();
    client.send(b"\xff\xc3(".to_vec()).await;
    assert_eq!(client.read(8).await, b"caf\xc3\xa9\xff\xc3(");
}
