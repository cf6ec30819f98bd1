//! Autobahn's cases against our frame layer in the server's role. Not part of `make test`: the suite needs Python 2.7.
//!
//! `WSTEST=/path/to/wstest cargo test --test autobahn -- --ignored --nocapture`, with wstest from PyPI's
//! autobahntestsuite 25.10.1.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use stream::link::frame::Role;
use stream::link::pulse::Pulse;
use stream::link::reader::{Event, Reader, Sizes, Text};
use stream::link::socket::Socket;
use stream::link::upgrade;
use stream::link::writer::Writer;
use stream::protocol::close::CloseFrame;
use stream::protocol::end::Closing;
use tokio::net::{TcpListener, TcpStream};

/// Cases that cannot pass, because of what the layer is for.
const OTHERWISE: [(&str, &str); 6] = [
    ("1.1.6", "text is for control messages of at most 4 KiB"),
    ("1.1.7", "text is for control messages of at most 4 KiB"),
    ("1.1.8", "text is for control messages of at most 4 KiB"),
    ("1.2.", "a byte stream: messages come in pieces, and an empty one is nothing"),
    ("9.", "text is for control messages of at most 4 KiB, and binary messages come in pieces"),
    ("10.1.1", "text is for control messages of at most 4 KiB"),
];

/// Says back what it is told, message for message as far as the layer keeps messages.
async fn echo(socket: Socket, early: &[u8]) {
    let (read, write) = tokio::io::split(socket);
    let sizes = Sizes { frame: 16 << 20, message: 16 << 20 };
    let mut reader = Reader::new(read, early, Role::Server, Text::Messages, sizes);
    let mut writer = Writer::new(write, Role::Server, Duration::from_secs(10));
    let pulse = Pulse::default();
    loop {
        let written = tokio::select! {
            biased;
            payload = pulse.owed() => writer.pong(payload).await,
            event = reader.next(&pulse) => match event {
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

async fn serve(connection: TcpStream) {
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| async move {
        let handshake = upgrade::Request::of(&request).unwrap();
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (socket, early) = upgrade::socket(upgraded).await.unwrap();
            echo(socket, &early).await;
        });
        Ok::<_, Infallible>(handshake.accept::<Empty<Bytes>>(None))
    });
    let io = TokioIo::new(Socket::Tcp(connection));
    // A case that breaks off is that case's business.
    let _ = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
}

#[tokio::test]
#[ignore = "needs Autobahn's wstest, a Python 2.7 program: WSTEST=/path/to/wstest"]
async fn autobahn_judges_the_server_role() {
    let wstest = std::env::var("WSTEST").expect("WSTEST names Autobahn's wstest");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            connection.set_nodelay(true).unwrap();
            tokio::spawn(serve(connection));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let spec = json!({
        "outdir": dir.path(),
        "servers": [{"url": url, "agent": "stream"}],
        "cases": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"],
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
    let mut counts = BTreeMap::<String, Vec<String>>::new();
    let mut wrong = vec![];
    for (case, result) in index["stream"].as_object().unwrap() {
        let (behavior, close) =
            (result["behavior"].as_str().unwrap(), result["behaviorClose"].as_str().unwrap());
        counts.entry(format!("{behavior} / {close}")).or_default().push(case.clone());
        let good = |verdict| ["OK", "NON-STRICT", "INFORMATIONAL"].contains(&verdict);
        let expected = OTHERWISE.iter().any(|(prefix, _)| case.starts_with(prefix));
        if !(expected || good(behavior) && good(close)) {
            wrong.push(format!("{case}: {behavior}, close {close}"));
        }
    }
    for (verdict, cases) in counts {
        let listed = if verdict == "OK / OK" { String::new() } else { cases.join(" ") };
        println!("{verdict}: {} {listed}", cases.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
