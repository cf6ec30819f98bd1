//! A client of a session, and a host that can do what no agent does.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::relay::TestRelay;
use crate::soon;

/// One websocket to the relay.
pub(crate) struct TestClient(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl TestClient {
    pub(crate) async fn connect(url: &str) -> TestClient {
        TestClient::request(url, &[]).await
    }

    /// A client that offers these subprotocols.
    pub(crate) async fn offering(url: &str, protocols: &[&str]) -> TestClient {
        TestClient::request(url, &[("sec-websocket-protocol", &protocols.join(", "))]).await
    }

    /// A host that dials with a grant, and then says only what the test says.
    pub(crate) async fn dial_as_host(relay: &TestRelay, grant: &str) -> TestClient {
        let url = format!("{}/v1/host", relay.url());
        TestClient::request(&url, &[("authorization", &format!("Bearer {grant}"))]).await
    }

    async fn request(url: &str, headers: &[(&'static str, &str)]) -> TestClient {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = soon("the relay's answer", connect_async(request)).await.unwrap();
        TestClient(socket)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message that is not a ping.
    async fn next(&mut self) -> Message {
        loop {
            let message = soon("a message of the relay", self.0.next()).await.expect("a message").unwrap();
            if !message.is_ping() && !message.is_pong() {
                return message;
            }
        }
    }

    /// Reads exactly these bytes, in however many messages.
    pub(crate) async fn expect_bytes(&mut self, expected: &[u8]) {
        let mut bytes = Vec::new();
        while bytes.len() < expected.len() {
            match self.next().await {
                Message::Binary(piece) => bytes.extend_from_slice(&piece),
                other => panic!("{other:?} after {bytes:?}, expected {expected:?}"),
            }
        }
        assert_eq!(bytes, expected);
    }

    /// The next control message.
    pub(crate) async fn expect_text(&mut self) -> serde_json::Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The close frame's code comes next. Answers it, and returns the reason.
    pub(crate) async fn expect_close(&mut self, code: u16) -> String {
        let frame = match self.next().await {
            Message::Close(Some(frame)) => frame,
            other => panic!("{other:?}, expected a close frame with {code}"),
        };
        assert_eq!(u16::from(frame.code), code, "{}", frame.reason);
        self.is_over().await;
        frame.reason.to_string()
    }

    /// Closes in good order.
    pub(crate) async fn close(mut self) {
        self.0.close(None).await.unwrap();
        self.is_over().await;
    }

    async fn is_over(&mut self) {
        while let Some(Ok(_)) = soon("the end of the connection", self.0.next()).await {}
    }
}
