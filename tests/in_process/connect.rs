//! `CONNECT TOKEN:PORT`: a session's bytes as they are, as SPICE viewers ask for them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::grant::Claims;
use protocol::token::Token;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::agent::TestAgent;
use crate::client::TestClient;
use crate::relay::TestRelay;
use crate::soon;
use crate::streams::Service;

/// A connection on which CONNECT was asked, and the answer.
struct Tunnel {
    stream: TcpStream,
    status: u16,
    head: String,
}

impl Tunnel {
    /// Asks as GLib does: in HTTP/1.0, and with the name in lower case.
    async fn to(relay: &TestRelay, token: &Token, secret: Option<&Token>) -> Tunnel {
        let name = token.reveal_as_host();
        let password = secret.map(|secret| {
            let pair = STANDARD.encode(format!("stream:{}", secret.reveal()));
            format!("Proxy-Authorization: Basic {pair}\r\n")
        });
        let more = password.unwrap_or_default();
        Tunnel::ask(relay, &format!("CONNECT {name}:1 HTTP/1.0\r\nHost: {name}:1\r\n{more}\r\n")).await
    }

    async fn ask(relay: &TestRelay, request: &str) -> Tunnel {
        let address = relay.url().strip_prefix("ws://").unwrap().to_owned();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("the relay's answer", stream.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Tunnel { stream, status, head }
    }

    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        soon("the end", self.stream.read_to_end(&mut rest)).await.unwrap();
        rest
    }

    /// The code of a refusal, and its words.
    async fn refusal(mut self) -> (u16, String, String) {
        let rest = self.rest().await;
        let body: Value = serde_json::from_slice(&rest).unwrap_or_else(|_| panic!("{}{rest:?}", self.head));
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        (self.status, text("code"), text("message"))
    }
}

/// How a SPICE viewer begins a connection; the server gave it this number, or 0.
fn opening(number: u32) -> Vec<u8> {
    [0x5144_4552, 2, 2, 26, number].map(u32::to_le_bytes).as_flattened().to_vec()
}

#[tokio::test]
async fn bytes_and_both_ends_pass_as_they_are() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    agent.accept(&relay, &claims).await;
    let name = token.reveal();
    // What comes behind the head counts, too.
    let request = format!("CONNECT {name}:65535 HTTP/1.1\r\nHost: {name}:65535\r\n\r\nquestion");
    let mut client = Tunnel::ask(&relay, &request).await;
    assert_eq!(client.status, 200, "{}", client.head);
    assert!(!client.head.to_lowercase().contains("content-length"), "{}", client.head);
    let mut target = service.accept().await;
    let mut question = [0; 8];
    soon("the question", target.read_exact(&mut question)).await.unwrap();
    assert_eq!(&question, b"question");
    client.stream.shutdown().await.unwrap();
    assert_eq!(soon("the client's end", target.read(&mut [0])).await.unwrap(), 0);
    target.write_all(&b"answer".repeat(100_000)).await.unwrap();
    drop(target);
    assert_eq!(client.rest().await.len(), 600_000);
    let started = agent.expect_record("started").await;
    assert_eq!(started.context.peer, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(agent.expect_ended().await, (8, 600_000, 1000));
}

#[tokio::test]
async fn a_client_that_comes_first_waits_for_its_host() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    let (mut client, ()) = tokio::join!(Tunnel::to(&relay, &token, None), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        agent.accept(&relay, &claims).await;
    });
    assert_eq!(client.status, 200);
    service.accept().await.write_all(b"hello").await.unwrap();
    let mut hello = [0; 5];
    soon("hello", client.stream.read_exact(&mut hello)).await.unwrap();
    assert_eq!(&hello, b"hello");
}

#[tokio::test]
async fn no_address_leads_anywhere() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let local = service.table();
    let local = local.split('\'').nth(3).unwrap();
    let token = Token::generate().unwrap().reveal();
    for authority in [
        "169.254.169.254:80",
        "example.com:443",
        "localhost:22",
        "[::1]:80",
        "2130706433:80",
        local,
        &format!("{token}@169.254.169.254:80"),
        &format!("{token}.example.com:80"),
        &format!("{token}%2e:80"),
        &token,
    ] {
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let (status, code, words) = match Tunnel::ask(&relay, &request).await {
            // hyper itself refuses what is no authority.
            answer if answer.status == 400 => continue,
            answer => answer.refusal().await,
        };
        assert_eq!((status, code.as_str()), (403, "token_malformed"), "{authority}");
        assert!(words.contains("never an address") && !words.contains(authority), "{words}");
    }
    // Only the request's target counts, not the header.
    let request = format!("CONNECT {local} HTTP/1.1\r\nHost: {token}:1\r\n\r\n");
    assert_eq!(Tunnel::ask(&relay, &request).await.status, 403);
    let connection = tokio::time::timeout(Duration::from_millis(100), service.accept()).await;
    assert!(connection.is_err(), "the relay dialled");
}

#[tokio::test]
async fn a_wrong_token_gets_a_reason_and_no_byte() {
    let relay = TestRelay::with(|settings| settings.client_wait = Duration::from_millis(100)).await;
    let service = Service::start().await;
    let agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    agent.accept(&relay, &claims).await;
    let (status, code, words) = Tunnel::to(&relay, &Token::generate().unwrap(), None).await.refusal().await;
    assert_eq!((status, code.as_str(), words.as_str()), (404, "no_host", "no host with this token"));
    let name = token.reveal_as_host();
    for header in ["Basic c3RyZWFtOnNob3J0", "Bearer x", "Basic"] {
        let request =
            format!("CONNECT {name}:1 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: {header}\r\n\r\n");
        assert_eq!(Tunnel::ask(&relay, &request).await.refusal().await.0, 400, "{header}");
    }
    let twice = "Proxy-Authorization: Basic x\r\n".repeat(2);
    let request = format!("CONNECT {name}:1 HTTP/1.1\r\nHost: x\r\n{twice}\r\n");
    assert_eq!(Tunnel::ask(&relay, &request).await.refusal().await.0, 400);
    // None of these took the session, which has one stream.
    let mut client = Tunnel::to(&relay, &token, None).await;
    assert_eq!(client.status, 200);
    let target = service.accept().await;
    let (status, code, _) = Tunnel::to(&relay, &token, None).await.refusal().await;
    assert_eq!((status, code.as_str()), (409, "token_used"));
    drop(target);
    assert_eq!(client.rest().await, b"");
    drop(client);
    // Its end is known to the relay a moment later.
    let over = async {
        loop {
            let (status, code, _) = Tunnel::to(&relay, &token, None).await.refusal().await;
            if (status, code.as_str()) == (404, "no_host") {
                break;
            }
            assert_eq!((status, code.as_str()), (409, "token_used"));
        }
    };
    soon("the end of the session", over).await;
}

#[tokio::test]
async fn later_connections_are_further_channels_of_the_same_viewer() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &format!("{}max_streams = 3\n", service.table()));
    let (token, claims) = relay.claims("service");
    agent.accept(&relay, &claims).await;
    let (secret, other) = (Token::generate().unwrap(), Token::generate().unwrap());
    let mut first = Tunnel::to(&relay, &token, Some(&secret)).await;
    assert_eq!(first.status, 200);
    first.stream.write_all(&opening(0)).await.unwrap();
    let mut target = service.accept().await;
    soon("the opening", target.read_exact(&mut [0; 20])).await.unwrap();
    for wrong in [None, Some(&other)] {
        let (status, code, _) = Tunnel::to(&relay, &token, wrong).await.refusal().await;
        assert_eq!((status, code.as_str()), (409, "token_used"));
    }
    TestClient::connect(&relay.client_url(&token)).await.expect_close(4409).await;
    let mut second = Tunnel::to(&relay, &token, Some(&secret)).await;
    assert_eq!(second.status, 200);
    // In pieces, as a network may deliver it.
    for piece in opening(7).chunks(3) {
        second.stream.write_all(piece).await.unwrap();
        second.stream.flush().await.unwrap();
    }
    let mut channel = service.accept().await;
    let mut got = [0; 20];
    soon("the opening", channel.read_exact(&mut got)).await.unwrap();
    assert_eq!(got.as_slice(), opening(7));
    // Another viewer with the same file: it would throw the first one out.
    let mut third = Tunnel::to(&relay, &token, Some(&secret)).await;
    assert_eq!(third.status, 200);
    third.stream.write_all(&opening(0)).await.unwrap();
    assert_eq!(third.rest().await, b"");
    let (one, two) = (agent.expect_record("started").await, agent.expect_record("started").await);
    assert_eq!((one.context.stream, two.context.stream), (Some(1), Some(2)));
    assert_eq!(one.context.session, two.context.session);
    // The first viewer goes on, and may open further channels.
    let mut fourth = Tunnel::to(&relay, &token, Some(&secret)).await;
    fourth.stream.write_all(&opening(7)).await.unwrap();
    channel.write_all(b"still here").await.unwrap();
    let mut still = [0; 10];
    soon("bytes of the second channel", second.stream.read_exact(&mut still)).await.unwrap();
    assert_eq!(&still, b"still here");
    soon("the fourth", service.accept().await.read_exact(&mut got)).await.unwrap();
    let (status, code, words) = Tunnel::to(&relay, &token, Some(&secret)).await.refusal().await;
    assert_eq!((status, code.as_str()), (409, "token_used"));
    assert!(words.contains("all streams of its session were given out"), "{words}");
}

#[tokio::test]
async fn a_lost_client_ends_its_stream() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    agent.accept(&relay, &claims).await;
    let client = Tunnel::to(&relay, &token, None).await;
    let mut target = service.accept().await;
    agent.expect_record("started").await;
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(soon("the target's end", target.read(&mut [0])).await.unwrap_or(0), 0);
    assert_eq!(agent.expect_ended().await.2, 4503);
}

#[tokio::test]
async fn a_stopped_session_ends_its_viewer() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    let claims = Claims { max_seconds: Some(1), ..claims };
    agent.accept(&relay, &claims).await;
    let mut client = Tunnel::to(&relay, &token, None).await;
    let _target = service.accept().await;
    assert_eq!(client.rest().await, b"");
    agent.expect_record("started").await;
    assert_eq!(agent.expect_ended().await.2, 4410);
}
