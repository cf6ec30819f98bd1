//! What an idle session costs in memory.

use std::future::pending;

use net::socket::Socket;
use protocol::close::CloseFrame;
use stream::pair::link;
use tokio::net::{TcpListener, TcpStream};
use websocket::connection::{Limits, WebSocket};
use websocket::frame::Role;
use websocket::reader::Text;

/// Bytes of a linked pair: in a release it is a little less than in a test.
const MOST: usize = 2048;

async fn socket() -> Socket {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Socket::Tcp(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap())
}

#[tokio::test]
async fn an_idle_session_is_small() {
    let websocket = |socket| WebSocket::new(socket, &[], Role::Server, Text::Messages, Limits::default());
    let (host, client) = (websocket(socket().await), websocket(socket().await));
    let future = link(host, client, true, Box::pin(pending::<CloseFrame>()));
    assert!(size_of_val(&future) <= MOST, "{}", size_of_val(&future));
}
