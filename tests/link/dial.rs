//! The two handshakes, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use net::socket::Socket;
use protocol::close::CloseFrame;
use protocol::end::End;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use websocket::address::Address;
use websocket::connection::{CloseAction, IdleEnd, Limits, WebSocket};
use websocket::dial::{Dialer, offer};
use websocket::error::DialError;
use websocket::frame::Role;
use websocket::proxy::Proxy;
use websocket::reader::Text;
use websocket::upgrade;

use crate::support::soon;

fn dialer() -> Dialer {
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Dialer { tls: Arc::new(tls), proxy: None, limits: Limits::default() }
}

/// Answers one connection with a fixed text, `{accept}` replaced by the right one.
async fn answer(head: &'static str, then: Vec<u8>) -> (Address, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&format!("ws://{}/base", listener.local_addr().unwrap())).unwrap();
    let asked = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![];
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let key =
            request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap_or_default();
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let mut out = head.replace("{accept}", &accept).into_bytes();
        out.extend_from_slice(&then);
        socket.write_all(&out).await.unwrap();
        // Until the other side is done with it.
        let _ = socket.read_to_end(&mut vec![]).await;
        request
    });
    (address, asked)
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Accept: {accept}\r\n\r\n";

#[tokio::test]
async fn what_follows_the_101_at_once_is_not_lost() {
    for count in [1, 100, 2000] {
        // Control messages right behind the head, far more than any handshake buffer holds.
        let note = format!("{:0>100}", "x");
        let mut wire = vec![];
        for _ in 0..count {
            wire.extend_from_slice(&[0x81, 100]);
            wire.extend_from_slice(note.as_bytes());
        }
        wire.extend_from_slice(&[0x88, 2, 0x03, 0xe8]);
        let (address, asked) = answer(GOOD, wire).await;
        let mut dialled =
            soon(dialer().dial(&address.below("/v1/host"), &[offer("stream.v1")], Text::Messages))
                .await
                .map_err(|error| error.to_string())
                .unwrap();
        let mut notes = 0;
        let close_action = loop {
            match soon(dialled.websocket.wait_idle(std::future::pending::<()>())).await {
                IdleEnd::Text(text) => notes += usize::from(text == note),
                IdleEnd::Lost(_, close_action) => break close_action,
                IdleEnd::Done(()) => unreachable!(),
            }
        };
        assert_eq!((notes, &close_action), (count, &CloseAction::Echo(Some(1000))));
        dialled.websocket.finish(close_action).await;
        let request = asked.await.unwrap();
        assert!(request.starts_with("GET /base/v1/host HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("sec-websocket-protocol: stream.v1\r\n"), "{request}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_the_handshake_of_rfc_6455_is_refused() {
    let no_upgrade =
        "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";
    let no_connection = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";
    let extension = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
                     Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let protocol = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
                    Sec-WebSocket-Protocol: chat\r\n\r\n";
    let accept =
        "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n";
    for head in [no_upgrade, no_connection, extension, protocol, accept] {
        let (address, _asked) = answer(head, vec![]).await;
        let dialled = soon(dialer().dial(&address, &[offer("stream.v1")], Text::Messages)).await;
        assert!(matches!(dialled, Err(DialError::Reach(_))), "{head}");
    }
}

#[tokio::test]
async fn a_refusal_is_read_and_shortened() {
    let head = "HTTP/1.1 403 Forbidden\r\nContent-Length: 33\r\n\r\n{\"message\":\"grant is not for me\"}";
    let (address, _asked) = answer(head, vec![]).await;
    let Err(error) = soon(dialer().dial(&address, &[], Text::Messages)).await else { panic!("dialled") };
    assert_eq!(error.to_string(), "relay answered 403: grant is not for me");
    assert!(!error.may_pass());
}

/// A small server on the real upgrade path; `max_buf` is hyper's.
async fn accept_one(max_buf: usize) -> (std::net::SocketAddr, tokio::task::JoinHandle<WebSocket<Socket>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let websocket = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let (give, mut take) = tokio::sync::mpsc::channel(1);
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            let give = give.clone();
            async move {
                let ours = upgrade::Request::parse(&request).unwrap();
                let on = hyper::upgrade::on(&mut request);
                give.send(on).await.unwrap();
                Ok::<_, std::convert::Infallible>(
                    ours.accept(None) as Response<http_body_util::Empty<hyper::body::Bytes>>
                )
            }
        });
        let connection = http1::Builder::new()
            .max_buf_size(max_buf)
            .serve_connection(TokioIo::new(Socket::Tcp(socket)), service)
            .with_upgrades();
        let (served, upgraded) =
            tokio::join!(connection, async { upgrade::socket(take.recv().await.unwrap()).await.unwrap() });
        served.unwrap();
        let (socket, early) = upgraded;
        WebSocket::new(socket, &early, Role::Server, Text::Messages, Limits::default())
    });
    (address, websocket)
}

#[tokio::test]
async fn what_a_client_sends_with_its_request_is_not_lost() {
    for (max_buf, count) in [(8192, 1), (8192, 3000), (400 * 1024, 3000)] {
        let (address, websocket) = accept_one(max_buf).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut wire =
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .to_vec();
        for _ in 0..count {
            wire.extend_from_slice(&[0x81, 0x80 | 100, 0, 0, 0, 0]);
            wire.extend_from_slice(&[b'y'; 100]);
        }
        wire.extend_from_slice(&[0x88, 0x80, 0, 0, 0, 0]);
        let sending = tokio::spawn(async move {
            client.write_all(&wire).await.unwrap();
            let mut answer = vec![];
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut websocket = soon(websocket).await.unwrap();
        let mut notes = 0;
        let close_action = loop {
            match soon(websocket.wait_idle(std::future::pending::<()>())).await {
                IdleEnd::Text(_) => notes += 1,
                IdleEnd::Lost(_, close_action) => break close_action,
                IdleEnd::Done(()) => unreachable!(),
            }
        };
        assert_eq!((notes, &close_action), (count, &CloseAction::Echo(None)));
        websocket.finish(close_action).await;
        let answer = soon(sending).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(b"\r\n\r\n\x88\x00"));
    }
}

#[tokio::test]
async fn a_client_that_keeps_sending_still_reads_everything_before_the_close() {
    // Unread bytes at the moment of closing would reset the connection and destroy what is on its way.
    let (address, websocket) = accept_one(8192).await;
    let (mut far, _) = tokio_tungstenite::client_async(
        format!("ws://{address}/"),
        TcpStream::connect(address).await.unwrap(),
    )
    .await
    .unwrap();
    let websocket = soon(websocket).await.unwrap();
    let local = stream::bridge::Local {
        output: &[7_u8; 3_000_000][..],
        input: None::<tokio::io::Sink>,
        at_eof: stream::bridge::AtEof::End,
        control: None,
    };
    let nothing = |_: &str| stream::bridge::ControlEffect::None;
    let stop = std::future::pending::<CloseFrame>();
    let done =
        crate::support::bridge_to_the_end(websocket, local, nothing, std::future::ready(Ok(None)), stop);
    let slow = async {
        use futures_util::SinkExt;
        for _ in 0..50 {
            far.send(tokio_tungstenite::tungstenite::Message::binary(vec![1; 10_000])).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        crate::support::read_all(&mut far).await
    };
    let (outcome, got) = soon(async { tokio::join!(done, slow) }).await;
    assert_eq!((got.bytes.len(), got.close.map(|close| close.0)), (3_000_000, Some(1000)));
    assert_eq!(outcome.closing.end, End::TargetEnded);
}

#[tokio::test]
async fn a_proxy_is_asked_with_the_credentials_of_its_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![];
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let byte = socket.read_u8().await.unwrap();
        socket.write_all(&[byte]).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let proxy = Proxy::new(&format!("http://us%40er:p%3Aw%20d@127.0.0.1:{port}"), None, &[]).unwrap();
    let stream = TcpStream::connect(proxy.address()).await.unwrap();
    let mut through = soon(proxy.connect(stream, "2001:db8::1", 443)).await.unwrap();
    through.write_all(b"!").await.unwrap();
    assert_eq!(soon(through.read_u8()).await.unwrap(), b'!');
    let request = asked.await.unwrap();
    assert!(request.starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"), "{request}");
    // us@er:p:w d
    assert!(request.contains("proxy-authorization: Basic dXNAZXI6cDp3IGQ=\r\n"), "{request}");

    assert_eq!(Proxy::new("http://[::1]:8080", None, &[]).unwrap().address(), ("::1", 8080));
    assert_eq!(Proxy::new("http://proxy:80", None, &[]).unwrap().address(), ("proxy", 80));
}

#[test]
fn addresses_of_relays() {
    let address = Address::parse("wss://Relay.example/base/?x=1").unwrap();
    assert_eq!((address.host.as_str(), address.port, address.tls), ("relay.example", 443, true));
    assert_eq!(address.below("/v1/host"), Address::parse("wss://relay.example/base/v1/host").unwrap());
    let v6 = Address::parse("ws://[::1]:8080").unwrap();
    assert_eq!((v6.host.as_str(), v6.port), ("::1", 8080));
    assert!(Address::parse("https://relay").is_err());
    assert_eq!(Address::parse("wss://xn--bcher-kva.example").unwrap().host, "xn--bcher-kva.example");
    let error = Address::parse("wss://b\u{fc}cher.example").unwrap_err().to_string();
    assert_eq!(
        error,
        "not a URL: invalid host name; write one that has other than ASCII letters in punycode (xn--...)"
    );
}

#[tokio::test]
async fn the_words_for_a_proxy_that_cannot_be_reached_do_not_say_where_it_is() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for proxy in [format!("http://{free}"), "http://proxy.inside.invalid:3128".to_owned()] {
        let dialer = Dialer { proxy: Some(Proxy::new(&proxy, None, &[]).unwrap()), ..dialer() };
        let address = Address::parse("ws://relay.example").unwrap();
        let said = soon(dialer.reach(&address)).await.unwrap_err().to_string();
        assert!(said.starts_with("proxy: "), "{said}");
        assert!(!said.contains(&free.to_string()) && !said.contains("inside"), "{said}");
    }
}
