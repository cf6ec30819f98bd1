//! A websocket client (tungstenite), with verbs for tests.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::header::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::SOON;

/// A third-party websocket client.
pub(crate) struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub headers: hyper::HeaderMap,
}

impl Client {
    pub(crate) async fn connect(url: &str, protocols: &[&str]) -> Client {
        Client::connect_with(url, protocols, &[]).await
    }

    pub(crate) async fn connect_with(
        url: &str,
        protocols: &[&str],
        headers: &[(&'static str, &str)],
    ) -> Client {
        let mut request = url.into_client_request().unwrap();
        if !protocols.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", protocols.join(", ").parse().unwrap());
        }
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let connected = timeout(SOON, tokio_tungstenite::connect_async(request)).await.unwrap();
        let (socket, response) = connected.unwrap_or_else(|error| panic!("{error}"));
        Client { socket, headers: response.headers().clone() }
    }

    pub(crate) async fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        self.socket.send(Message::binary(bytes.into())).await.unwrap();
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message that is not a ping.
    pub(crate) async fn next(&mut self) -> Message {
        self.next_after("what was read").await
    }

    async fn next_after(&mut self, said: &str) -> Message {
        let deadline = Instant::now() + SOON;
        loop {
            let message = timeout_at(deadline, self.socket.next()).await;
            let message =
                message.unwrap_or_else(|_| panic!("nothing comes after {said:?}")).expect("the end").unwrap();
            if !message.is_ping() && !message.is_pong() {
                return message;
            }
        }
    }

    /// Reads exactly this many bytes.
    pub(crate) async fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < n {
            match self.next().await {
                Message::Binary(piece) => bytes.extend_from_slice(&piece),
                other => panic!("after {} of {n} bytes: {other:?}", bytes.len()),
            }
        }
        assert_eq!(bytes.len(), n);
        bytes
    }

    /// Reads bytes until they contain something.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            match self.next_after(&said).await {
                Message::Binary(piece) => said.push_str(&String::from_utf8_lossy(&piece)),
                other => panic!("{other:?} after {said:?}, waiting for {text:?}"),
            }
        }
        said
    }

    /// Types until a shell answers, because a starting shell discards earlier input.
    pub(crate) async fn is_answered(&mut self) {
        for _ in 0..60 {
            self.send(b"echo =$((6*7))=\r".to_vec()).await;
            if timeout(Duration::from_secs(1), self.read_until("\n=42=")).await.is_ok() {
                return;
            }
        }
        panic!("the shell does not answer");
    }

    /// All bytes to the end, and the close code and reason.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, u16, String) {
        let mut bytes = Vec::new();
        loop {
            match self.next().await {
                Message::Binary(piece) => bytes.extend_from_slice(&piece),
                Message::Text(_) => {}
                Message::Close(Some(close)) => return (bytes, close.code.into(), close.reason.to_string()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Expects to be closed with this code, and finishes the handshake.
    pub(crate) async fn closed_with(&mut self, code: u16) -> String {
        let (_, got, reason) = self.rest().await;
        assert_eq!(got, code, "{reason}");
        // The server ends the connection after the close handshake.
        let ended = timeout(SOON, self.socket.next()).await.expect("the connection stays open");
        assert!(ended.is_none() || ended.is_some_and(|last| last.is_err()));
        reason
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while let Ok(Some(Ok(_))) = timeout(SOON, self.socket.next()).await {}
    }
}
