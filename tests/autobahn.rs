//! Autobahn's cases against our frame layer in the server's role, and against the relay's pumps as a client without
//! `stream.v1` meets them. Not part of `make test`: the suite needs Python 2.7.
//!
//! `WSTEST=/path/to/wstest cargo test --test autobahn -- --ignored --nocapture`, with wstest from PyPI's
//! autobahntestsuite 25.10.1.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use net::socket::Socket;
use protocol::close::CloseFrame;
use protocol::end::Closing;
use serde_json::{Value, json};
use stream::pair::link;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role as TheirRole;
use websocket::connection::{Limits, WebSocket};
use websocket::frame::Role;
use websocket::keepalive::Keepalive;
use websocket::reader::{Event, FrameReader, Sizes, Text};
use websocket::upgrade;
use websocket::writer::FrameWriter;

/// Cases that cannot pass, because the layer is a byte stream.
const OTHERWISE: [(&str, &str); 6] = [
    ("1.1.6", "text is for control messages of at most 4 KiB"),
    ("1.1.7", "text is for control messages of at most 4 KiB"),
    ("1.1.8", "text is for control messages of at most 4 KiB"),
    ("1.2.", "a byte stream: messages come in pieces, and an empty one is nothing"),
    ("9.", "text is for control messages of at most 4 KiB, and binary messages come in pieces"),
    ("10.1.1", "text is for control messages of at most 4 KiB"),
];

/// Echoes, message for message as far as the layer keeps messages.
async fn echo(socket: Socket, early: &[u8]) {
    let (read, write) = tokio::io::split(socket);
    let sizes = Sizes { frame: 16 << 20, message: 16 << 20 };
    let mut reader = FrameReader::new(read, early, Role::Server, Text::Messages, sizes);
    let mut writer = FrameWriter::new(write, Role::Server, Duration::from_secs(10));
    let keepalive = Keepalive::default();
    loop {
        let written = tokio::select! {
            biased;
            payload = keepalive.next_pong() => writer.pong(payload).await,
            event = reader.next(&keepalive) => match event {
                Ok(Event::Bytes(bytes)) => writer.bytes(&mut bytes.to_vec()).await,
                Ok(Event::Text(text)) => writer.text(text).await,
                Ok(Event::Close(close)) => {
                    let _ = writer.echo(close.map(|(code, _)| code)).await;
                    return writer.shutdown().await;
                }
                Ok(Event::Eof) => return,
                Err(error) => {
                    let _ = writer.close(&CloseFrame::from(Closing::from(error).end)).await;
                    return writer.shutdown().await;
                }
            },
        };
        if written.is_err() {
            return;
        }
    }
}

/// Links with a host that echoes.
async fn relay(socket: Socket, early: &[u8]) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let host = WebSocket::new(near, &[], Role::Server, Text::Messages, Limits::default());
    let client = WebSocket::new(socket, early, Role::Server, Text::Bytes, Limits::default());
    tokio::spawn(async move {
        let mut host = WebSocketStream::from_raw_socket(far, TheirRole::Client, None).await;
        while let Some(Ok(message)) = host.next().await {
            if message.is_binary() && host.send(message).await.is_err() {
                return;
            }
        }
    });
    let (_, host, client) = link(host, client, false, pending()).await;
    tokio::join!(host.close(), client.close());
}

async fn serve(connection: TcpStream, is_relay: bool) {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| async move {
        let handshake = upgrade::Request::parse(&request).unwrap();
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (socket, early) = upgrade::socket(upgraded).await.unwrap();
            match is_relay {
                true => relay(socket, &early).await,
                false => echo(socket, &early).await,
            }
        });
        Ok::<_, Infallible>(handshake.accept::<Empty<Bytes>>(None))
    });
    let io = TokioIo::new(Socket::Tcp(connection));
    // A case may break off the connection.
    let _ = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
}

/// What Autobahn says of a case.
struct Verdict {
    case: String,
    /// Of what came.
    behavior: String,
    /// Of how the connection ended.
    close: String,
    /// The code that it got.
    code: Option<u64>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { case, behavior, close, code } = self;
        write!(f, "{case}: {behavior}, close {close} with {code:?}")
    }
}

async fn judged(is_relay: bool, cases: &[&str]) -> Vec<Verdict> {
    let wstest = std::env::var("WSTEST").expect("WSTEST names Autobahn's wstest");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            connection.set_nodelay(true).unwrap();
            tokio::spawn(serve(connection, is_relay));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let spec = json!({
        "outdir": dir.path(),
        "servers": [{"url": url, "agent": "stream"}],
        "cases": cases,
        "exclude-cases": [], "exclude-agent-cases": {},
    });
    std::fs::write(dir.path().join("spec.json"), spec.to_string()).unwrap();
    let mut command = tokio::process::Command::new(wstest);
    command.args(["-m", "fuzzingclient", "-s"]).arg(dir.path().join("spec.json")).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(1200), command.output()).await.unwrap().unwrap();
    accepting.abort();
    let index = std::fs::read(dir.path().join("index.json"))
        .unwrap_or_else(|_| panic!("wstest: {}", String::from_utf8_lossy(&output.stderr)));
    let index: Value = serde_json::from_slice(&index).unwrap();
    let word = |result: &Value, key: &str| result[key].as_str().unwrap().to_owned();
    let verdicts: Vec<_> = index["stream"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(case, result)| Verdict {
            case: case.clone(),
            behavior: word(result, "behavior"),
            close: word(result, "behaviorClose"),
            code: result["remoteCloseCode"].as_u64(),
        })
        .collect();
    let mut counts = BTreeMap::<String, Vec<&str>>::new();
    for Verdict { case, behavior, close, .. } in &verdicts {
        counts.entry(format!("{behavior} / {close}")).or_default().push(case);
    }
    for (verdict, cases) in counts {
        let listed = if verdict == "OK / OK" { String::new() } else { cases.join(" ") };
        println!("{verdict}: {} {listed}", cases.len());
    }
    verdicts
}

fn is_good(verdict: &str) -> bool {
    ["OK", "NON-STRICT", "INFORMATIONAL"].contains(&verdict)
}

#[tokio::test]
#[ignore = "needs Autobahn's wstest, a Python 2.7 program: WSTEST=/path/to/wstest"]
async fn autobahn_judges_the_server_role() {
    let cases = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"];
    let is_right = |verdict: &Verdict| {
        OTHERWISE.iter().any(|(prefix, _)| verdict.case.starts_with(prefix))
            || is_good(&verdict.behavior) && is_good(&verdict.close)
    };
    all(is_right, judged(false, &cases).await);
}

fn all(is_right: impl Fn(&Verdict) -> bool, verdicts: Vec<Verdict>) {
    let wrong: Vec<_> =
        verdicts.iter().filter(|verdict| !is_right(verdict)).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Text comes back as binary, which Autobahn closes with 1001, so only the ends of connections are compared.
#[tokio::test]
#[ignore = "needs Autobahn's wstest, a Python 2.7 program: WSTEST=/path/to/wstest"]
async fn autobahn_judges_how_the_relay_ends_connections() {
    let is_right = |verdict: &Verdict| {
        is_good(&verdict.close) || verdict.close == "WRONG CODE" && verdict.code == Some(1001)
    };
    all(is_right, judged(true, &["2.*", "3.*", "4.*", "5.*", "6.*", "7.*"]).await);
}
