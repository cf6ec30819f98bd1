//! The end of a stream, whoever causes it: no byte is lost before it, and the close code is right.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Client, SOON, World};

/// A world with a TCP target that this test serves.
async fn with_service(more: &str) -> (World, TcpListener) {
    let mut world = World::new();
    let listener = TcpListener::bind((world.ip.as_str(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    world.targets = format!("[target.tcp]\nkind = 'tcp'\naddress = '{address}'\n{more}\n");
    world.start().await;
    (world, listener)
}

#[tokio::test]
async fn what_a_target_said_right_before_its_end_arrives_a_hundred_times() {
    let (world, listener) = with_service("").await;
    for round in 0..100 {
        let url = world.url("tcp").await;
        let said = vec![round as u8; 100_000 + round * 1000];
        let serve = async {
            let mut stream = listener.accept().await.unwrap().0;
            stream.write_all(&said).await.unwrap();
        };
        let (mut client, ()) = tokio::join!(Client::connect(&url, &[]), serve);
        let (got, code, reason) = client.rest().await;
        assert!(got == said, "round {round}: {} of {} bytes", got.len(), said.len());
        assert_eq!((code, reason.as_str()), (1000, "target ended"));
    }
}

#[tokio::test]
async fn what_a_client_said_right_before_its_end_arrives() {
    let (world, listener) = with_service("").await;
    for round in 0..30 {
        let url = world.url("tcp").await;
        let sent = vec![round as u8; 200_000];
        let talk = async {
            let mut client = Client::connect(&url, &[]).await;
            client.send(sent.clone()).await;
            client.close().await;
        };
        let receive = async {
            let mut stream = listener.accept().await.unwrap().0;
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(talk, receive);
        assert!(received == sent, "round {round}: {} bytes", received.len());
    }
    world.metric_is("stream_relay_streams", 0.0).await;
}

#[tokio::test]
async fn half_close_works_between_our_own_ends() {
    let (world, listener) = with_service("").await;
    // Reads everything to the end, and only then answers: with what it read, reversed.
    let serve = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received.reverse();
        stream.write_all(&received).await.unwrap();
    });
    let mut open = world.open_command(&["h1", "tcp", "--stdio"]);
    let mut open = open.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let question: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut input = open.stdin.take().unwrap();
    input.write_all(&question).await.unwrap();
    drop(input);
    let mut answer = Vec::new();
    let read = open.stdout.take().unwrap().read_to_end(&mut answer).await;
    read.unwrap();
    answer.reverse();
    assert!(answer == question);
    assert!(tokio::time::timeout(SOON, open.wait()).await.unwrap().unwrap().success());
    serve.await.unwrap();
    world.metric_is("stream_relay_streams_ended_total{end=\"target_ended\"}", 1.0).await;
}

#[tokio::test]
async fn a_target_that_shuts_down_writing_goes_on_listening() {
    let (world, listener) = with_service("").await;
    let url = world.url("tcp").await;
    let (mut client, accepted) = tokio::join!(Client::connect(&url, &["stream.v1"]), listener.accept());
    let mut stream = accepted.unwrap().0;
    stream.write_all(b"all I have to say").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(client.read(17).await, b"all I have to say");
    assert_eq!(client.next().await, Message::text(r#"{"type":"eof"}"#));
    client.send(b"and I".to_vec()).await;
    client.send_text(r#"{"type":"eof"}"#).await;
    let mut received = String::new();
    stream.read_to_string(&mut received).await.unwrap();
    assert_eq!(received, "and I");
    client.closed_with(1000).await;
}

#[tokio::test]
async fn of_a_hundred_clients_with_one_token_exactly_one_is_linked() {
    let mut world = World::new();
    world.relay_config = "[limits]\nwaiting_per_address = 200\nclient_wait = '2s'\n".into();
    world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nmax_streams = 1\n".into();
    world.start().await;
    let url = world.url("cat").await;
    let clients = join_all((0..100).map(|_| Client::connect(&url, &[]))).await;
    let fates = join_all(clients.into_iter().map(|mut client| async move {
        // A losing connection may be closed before it has sent anything.
        use futures_util::SinkExt;
        let _ = client.socket.send(Message::binary(b"mine".to_vec())).await;
        match client.next().await {
            Message::Binary(bytes) => {
                assert_eq!(&bytes[..], b"mine");
                (1, Some(client))
            }
            Message::Close(Some(close)) => {
                assert_eq!(u16::from(close.code), 4409, "{}", close.reason);
                (0, None)
            }
            other => panic!("{other:?}"),
        }
    }))
    .await;
    assert_eq!(fates.iter().map(|(linked, _)| linked).sum::<i32>(), 1);
    assert_eq!(world.metric("stream_relay_streams").await, 1.0);
    assert_eq!(world.metric("stream_relay_clients_refused_total{end=\"token_used\"}").await, 99.0);
}

#[tokio::test]
async fn a_session_of_several_streams_is_for_one_client() {
    let (world, listener) = with_service("max_streams = 3").await;
    // Every connection receives its number.
    tokio::spawn(async move {
        let mut kept = Vec::new();
        for number in 1.. {
            let mut stream = listener.accept().await.unwrap().0;
            stream.write_all(format!("{number}").as_bytes()).await.unwrap();
            kept.push(stream);
        }
    });
    let url = world.url("tcp").await;
    let mut first = Client::connect(&url, &["binary"]).await;
    assert_eq!(first.headers["sec-websocket-protocol"], "binary");
    assert_eq!(first.read(1).await, b"1");
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    // The same browser, by its cookie. An address of loopback is nobody's own.
    let mut second = Client::connect_with(&url, &[], &[("cookie", &cookie)]).await;
    assert_eq!(second.read(1).await, b"2");
    let stolen = cookie.split_once('=').unwrap().0.to_owned() + "=guessed";
    let mut thief = Client::connect_with(&url, &[], &[("cookie", &stolen)]).await;
    thief.closed_with(4409).await;
    Client::connect(&url, &[]).await.closed_with(4409).await;
    let mut third = Client::connect_with(&url, &[], &[("cookie", &cookie)]).await;
    assert_eq!(third.read(1).await, b"3");
    Client::connect_with(&url, &[], &[("cookie", &cookie)]).await.closed_with(4409).await;
    for client in [first, second, third] {
        client.close().await;
    }
    world.metric_is("stream_relay_streams", 0.0).await;
    world.metric_is("stream_relay_hosts_parked", 0.0).await;
    // The token ended with its session, and is now unknown.
    assert_eq!(Client::connect(&url, &[]).await.closed_with(4404).await, "no host with this token");
}

#[tokio::test]
async fn tokens_that_are_not_alive_look_the_same_and_malformed_ones_are_told() {
    let mut world = World::new();
    world.relay_config = "[limits]\nclient_wait = '300ms'\nhost_wait = '500ms'\n".into();
    world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n".into();
    world.start().await;
    let expired = world.url("cat").await;
    world.relay().says("no client came in time").await;
    let base = format!("{}/v1/stream/", world.relay_url());
    let unknown = format!("{base}{}", "A".repeat(43));
    for url in [&unknown, &expired] {
        let begun = std::time::Instant::now();
        assert_eq!(Client::connect(url, &[]).await.closed_with(4404).await, "no host with this token");
        assert!(begun.elapsed() >= Duration::from_millis(300), "{url}");
    }
    for token in ["", "short", &"A".repeat(44), &"!".repeat(43)] {
        Client::connect(&format!("{base}{token}"), &[]).await.closed_with(4401).await;
    }
    let hidden = format!("stream.token.{}", "A".repeat(43));
    let mut client = Client::connect(&base, &[&hidden, "binary"]).await;
    assert_eq!(client.headers["sec-websocket-protocol"], "binary");
    client.closed_with(4404).await;
    for (path, status) in [("/v1/stream/x", "426"), ("/v1/host", "401"), ("/", "404"), ("/v1/streams", "404")]
    {
        let url = format!("{}{path}", world.platform_url());
        let got = world.run("curl", &["-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        assert_eq!(got, status, "{path}");
    }
}

#[tokio::test]
async fn origins_and_message_sizes_are_held() {
    let mut world = World::new();
    world.platform_config = "origins = ['https://good.example']\n".into();
    world.relay_config = "[limits]\nframe = 100000\nmessage = 150000\n".into();
    world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n".into();
    world.start().await;
    let url = world.url("cat").await;
    for origin in [
        "https://evil.example",
        "https://a.good.example",
        "https://good.example.evil.example",
        "https://evilgood.example",
        "https://example",
        "http://good.example",
        "wss://good.example",
        "https://good.example:8443",
        "https://good.example.",
        "https://me@good.example",
        "https://good.example/page",
        "https://good.example https://good.example",
        "https://good.example, https://evil.example",
        "https://xn--gd-fkaa.example",
        "https://gööd.example",
        "good.example",
        "file://",
        "null",
        "",
    ] {
        Client::connect_with(&url, &[], &[("origin", origin)]).await.closed_with(4403).await;
    }
    let mut good = Client::connect_with(&url, &[], &[("origin", "https://good.example")]).await;
    good.send(vec![7; 100_000]).await;
    assert!(good.read(100_000).await.iter().all(|byte| *byte == 7));
    good.send(vec![7; 100_001]).await;
    let (_, code, reason) = good.rest().await;
    assert_eq!((code, reason.as_str()), (4413, "message too large"));
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let world = World::with("[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n").await;
    let body = serde_json::json!({ "host": "h1", "target": "cat", "max_seconds": 1 });
    let (_, session) = world.api("POST", "/api/v1/sessions", body).await;
    let mut client = Client::connect(session["url"].as_str().unwrap(), &[]).await;
    assert_eq!(client.closed_with(4410).await, "the session's time is over");
}

#[tokio::test]
async fn without_client_wait_a_parked_host_is_still_met() {
    let mut world = World::new();
    world.relay_config = "[limits]\nclient_wait = '0s'\n".into();
    world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n".into();
    world.start().await;
    for _ in 0..20 {
        let mut client = world.open("cat").await;
        client.send(b"x".to_vec()).await;
        client.read(1).await;
        client.close().await;
    }
    let unknown = format!("{}/v1/stream/{}", world.relay_url(), "A".repeat(43));
    Client::connect(&unknown, &[]).await.closed_with(4404).await;
}
