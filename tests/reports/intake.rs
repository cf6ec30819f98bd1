//! What the relay does with connections that have not shown a token or a grant yet.

use std::io::ErrorKind;

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::world::{AGENT, RELAY, SOON, World, eventually, started};

const CAT: &str = "[target.cat]\nkind = 'exec'\nuser = 'root'\nargv = ['/bin/cat']\n";

/// The head of a client's handshake, with an unknown token.
const KNOCK: &str = "GET /v1/stream/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn world(limits: &str) -> World {
    let mut world = World::new();
    world.relay_config = format!("[limits]\n{limits}\n");
    world.targets = CAT.into();
    world.start().await;
    world
}

async fn connect(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let address = format!("{}:8080", world.ip).parse().unwrap();
    timeout(SOON, socket.connect(address)).await.expect("no connection").unwrap()
}

/// Sends a request on a new connection and returns the whole answer.
async fn answer(world: &World, request: &str) -> String {
    let mut stream = connect(world).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    match timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection stays open") {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&answer).into_owned(),
    }
}

/// An ordinary user's session during the attack: from the request to the first byte back.
async fn is_served(world: &World, during: &str) {
    let begun = Instant::now();
    let served = async {
        let mut client = world.open("cat").await;
        client.send(b"x".to_vec()).await;
        client.read(1).await;
        client.close().await;
    };
    timeout(SOON, served).await.unwrap_or_else(|_| panic!("nobody is served during: {during}"));
    eprintln!(
        "{during}: a session of another after {:?}; relay: {} KiB, {} descriptors",
        begun.elapsed(),
        world.relay().rss(),
        world.relay().fds()
    );
}

#[tokio::test]
async fn answers_that_are_never_read_keep_nobody_out() {
    let world = world("connections = 20\nconnections_per_address = 20").await;
    let mut attack = JoinSet::new();
    for _ in 0..20 {
        let mut stream = connect(&world).await;
        let request = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        timeout(SOON, stream.read_exact(&mut [0; 8])).await.unwrap().unwrap();
        attack.spawn(async move {
            let requests = request.repeat(2000);
            while stream.write_all(requests.as_bytes()).await.is_ok() {}
            // A peer that does not close the connection.
            std::future::pending::<()>().await;
        });
    }
    is_served(&world, "20 places, 20 peers that do not read").await;
}

#[tokio::test]
async fn operators_who_never_read_keep_no_operator_out() {
    let world = world("").await;
    let mut attack = JoinSet::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect((world.admin_ip.as_str(), 8081)).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        timeout(SOON, stream.read_exact(&mut [0; 8])).await.unwrap().unwrap();
        attack.spawn(async move {
            let requests = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
            while stream.write_all(requests.as_bytes()).await.is_ok() {}
            std::future::pending::<()>().await;
        });
    }
    timeout(SOON, world.metric_is("stream_relay_streams", 0.0)).await.expect("no operator is served");
    is_served(&world, "64 operators that do not read").await;
}

#[tokio::test]
async fn half_requests_and_silence_keep_nobody_out() {
    let world = world("connections = 20\nrequest_head = '60s'").await;
    let mut held = Vec::new();
    for n in 0..100 {
        let mut stream = connect(&world).await;
        let said = ["", "GET / HTTP/1.1\r\nhost: ", "POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\n"][n % 3];
        stream.write_all(said.as_bytes()).await.unwrap();
        held.push(stream);
    }
    is_served(&world, "20 places, 100 peers that say half a request or nothing").await;
    assert!(world.metric("stream_relay_connections").await <= 20.0);
    assert!(world.metric("stream_relay_connections_cut_total{reason=\"crowded\"}").await >= 80.0);
}

#[tokio::test]
async fn refused_clients_have_places_and_leave_soon() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.start_nats().await;
    world.write_relay_config();
    // The system's limit applies, whatever the settings are.
    let mut command = Command::new("prlimit");
    command
        .arg("--nofile=256:256")
        .arg(RELAY)
        .arg("--config")
        .arg(world.path("relay/config.toml"))
        .arg("serve");
    let relay = started(command, &world.dir, "relay").await;
    relay.says("platform: NATS connected").await;
    let before = relay.fds();
    world.relay = Some(relay);
    world.start_agent().await;
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = connect(&world).await;
        let request = format!("GET /v1/stream/short HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        held.push(stream);
    }
    is_served(&world, "256 descriptors, 300 refused clients that stay").await;
    assert!(world.metric("stream_relay_connections").await <= 128.0);
    assert!(world.relay().fds() < 200);
    // They are still open, and wait for one close of at most two seconds.
    let relay = world.relay();
    let complaint = || format!("{} descriptors, {before} before the connections", relay.fds());
    // The platform's NATS connection and a scrape may have come in between.
    eventually(|| relay.fds() <= before + 4, complaint).await;
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_counted_by_the_forwarded_address() {
    let mut world = World::new();
    world.relay_config = "trusted_proxies = ['127.0.0.0/8']\n# no platform\n[limits]\nclient_wait = '60s'\n\
                          connections_per_address = 2\n"
        .into();
    world.start_relay().await;
    let connect = async |address: &str| {
        let mut stream = connect(&world).await;
        let head = format!("{KNOCK}Host: a\r\nX-Forwarded-For: 203.0.113.99, {address}\r\n{HANDSHAKE}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        timeout(SOON, stream.read_exact(&mut [0; 12])).await.unwrap().unwrap();
        stream
    };
    let mut waiting = Vec::new();
    for address in ["203.0.113.1", "203.0.113.2", "2001:db8:0:1::1"] {
        for _ in 0..5 {
            waiting.push(connect(address).await);
        }
    }
    // Many /64 networks of one site.
    for network in 2..12 {
        waiting.push(connect(&format!("2001:db8:0:{network}::1")).await);
    }
    world.metric_is("stream_relay_clients_waiting", 2.0 + 2.0 + 8.0).await;
    world.metric_is("stream_relay_connections_cut_total{reason=\"crowded\"}", 13.0).await;
    world.metric_is("stream_relay_connections", 12.0).await;
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_hides_no_record() {
    const REFUSALS: usize = 3000;
    let mut world = world("").await;
    let begun = Instant::now();
    let lines = |world: &World| world.relay().said().lines().count();
    let before = lines(&world);
    let kinds = [
        ("GET /v1/host HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "401"),
        ("GET /api/v1/sessions HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "401"),
        (format!("GET /v1/stream/short HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}\r\n"), "101"),
    ];
    for n in 0..REFUSALS {
        let (request, status) = &kinds[n % kinds.len()];
        let mut stream = connect(&world).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        timeout(SOON, stream.read_exact(&mut head)).await.unwrap().unwrap();
        assert_eq!(&head[9..], status.as_bytes());
    }
    is_served(&world, "3000 refusals").await;
    world.relay().says("stream ended, target cat").await;
    let seconds = begun.elapsed().as_secs() as usize;
    let logged = lines(&world) - before;
    eprintln!("{logged} lines for {REFUSALS} refusals in {seconds} s");
    // Relay and API may log 20 lines at once and one more every ten seconds, and the real session logs some.
    assert!(logged <= 2 * (20 + seconds / 10 + 1) + 10, "{logged} lines:\n{}", world.relay().said());
    let suppressed = world.metric("stream_relay_records_suppressed_total").await
        + world.metric("stream_platform_records_suppressed_total").await;
    assert!(suppressed >= (REFUSALS - logged) as f64, "{suppressed}");
    let mut relay = world.relay.take().unwrap();
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended().await, 0);
    let said = relay.said();
    assert!(said.contains("refusals of unknown peers: ") && said.contains(" of 127."), "{said}");
}

#[tokio::test]
async fn odd_handshakes_are_refused_with_words() {
    let world = world("").await;
    let host = "Host: a\r\n";
    let origin = "Origin: https://app.example.com\r\n";
    let http_1_0 = KNOCK.replace("1.1", "1.0");
    let dial = "GET /v1/host HTTP/1.0\r\n";
    let post = KNOCK.replace("GET", "POST");
    let no_upgrade = HANDSHAKE.replace("Upgrade: websocket\r\n", "");
    for (head, status, words) in [
        (format!("{KNOCK}{HANDSHAKE}"), "400", "no host header"),
        (format!("{KNOCK}{host}Host: b\r\n{HANDSHAKE}"), "400", "more than one host header"),
        (format!("{KNOCK}Host: a@b\r\n{HANDSHAKE}"), "400", "not a host"),
        ("GET / HTTP/1.1\r\n".to_owned(), "400", "no host header"),
        (format!("{KNOCK}{host}{origin}{origin}{HANDSHAKE}"), "400", "more than one origin header"),
        (format!("{KNOCK}{host}{HANDSHAKE}{HANDSHAKE}"), "400", "more than one sec-websocket-key header"),
        (format!("{KNOCK}{host}Content-Length: 3\r\n{HANDSHAKE}"), "400", "no body"),
        (format!("{KNOCK}{host}Transfer-Encoding: chunked\r\n{HANDSHAKE}"), "400", "no body"),
        (format!("{post}{host}{HANDSHAKE}"), "405", "allow: GET"),
        (format!("{http_1_0}{host}{HANDSHAKE}"), "426", "proxy_http_version 1.1"),
        (format!("{http_1_0}{HANDSHAKE}"), "426", "proxy_http_version 1.1"),
        (format!("{dial}{host}{HANDSHAKE}"), "426", "proxy_http_version 1.1"),
        (format!("{KNOCK}{host}{no_upgrade}"), "426", "proxy_set_header Upgrade"),
    ] {
        let said = answer(&world, &format!("{head}\r\n")).await.to_lowercase();
        let line = said.lines().next().unwrap_or_default();
        assert_eq!(line.split(' ').nth(1), Some(status), "{head}\n{said}");
        assert!(said.contains(&words.to_lowercase()), "{head}\n{said}");
        assert!(said.starts_with("http/1.0") || said.contains("close"), "{head}\n{said}");
    }
    // The probe of an old load balancer gets an answer.
    assert!(answer(&world, "GET / HTTP/1.0\r\n\r\n").await.contains(" 404 "));
    is_served(&world, "odd handshakes").await;
}

#[tokio::test]
async fn a_key_lets_a_connection_ask_again_and_a_refusal_does_not() {
    let world = world("").await;
    let key = std::fs::read_to_string(world.path("api.key")).unwrap();
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n");
    let mut stream = connect(&world).await;
    let targets = ask("/api/v1/hosts/h1/targets");
    for _ in 0..3 {
        stream.write_all(targets.as_bytes()).await.unwrap();
        let mut said = String::new();
        while !said.contains("\"cat\"") || !said.ends_with("]}") {
            let mut piece = [0; 4096];
            let n = timeout(SOON, stream.read(&mut piece)).await.unwrap().unwrap();
            assert_ne!(n, 0, "{said}");
            said.push_str(&String::from_utf8_lossy(&piece[..n]));
        }
    }
    let twice = ask("/api/v1/nothing").repeat(2);
    let said = answer(&world, &twice).await;
    assert_eq!(said.matches("HTTP/1.1 404").count(), 1, "{said}");
}

#[tokio::test]
async fn a_client_is_linked_over_a_unix_socket() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.start_nats().await;
    world.write_relay_config();
    let (config, socket) = (world.path("relay/config.toml"), world.path("relay.sock"));
    let listen = format!("listen = ['{}:8080'", world.ip);
    let text = std::fs::read_to_string(&config).unwrap();
    let both = format!("{listen}, 'unix:{}'", socket.display());
    std::fs::write(&config, text.replace(&listen, &both)).unwrap();
    let mut command = Command::new(RELAY);
    command.arg("--config").arg(&config).arg("serve");
    let relay = started(command, &world.dir, "relay").await;
    relay.says("platform: NATS connected").await;
    world.relay = Some(relay);
    world.start_agent().await;
    let url = world.url("cat").await;
    let stream = UnixStream::connect(&socket).await.unwrap();
    let (mut client, _) = timeout(SOON, tokio_tungstenite::client_async(url, stream)).await.unwrap().unwrap();
    client.send(Message::binary(&b"x"[..])).await.unwrap();
    let echoed = timeout(SOON, client.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(echoed, Message::binary(&b"x"[..]));
}

/// A proxy that speaks HTTP/1.0 to the relay, as nginx does unless configured otherwise.
async fn old_proxy(listener: TcpListener, relay: String) {
    loop {
        let (mut down, _) = listener.accept().await.unwrap();
        let relay = relay.clone();
        tokio::spawn(async move {
            let mut up = TcpStream::connect(relay).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(down.read_u8().await?);
            }
            let head = String::from_utf8(head).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
            up.write_all(head.as_bytes()).await?;
            tokio::io::copy_bidirectional(&mut down, &mut up).await
        });
    }
}

#[tokio::test]
async fn test_dial_names_the_proxy_that_speaks_http_1_0() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.public_port = 8090;
    let listener = TcpListener::bind((world.ip.as_str(), 8090)).await.unwrap();
    let proxy = tokio::spawn(old_proxy(listener, format!("{}:8080", world.ip)));
    world.start_nats().await;
    world.start_relay().await;
    world.write_agent_config();
    let config = world.path("agent/config.toml");
    let mut command = Command::new(AGENT);
    command.arg("--config").arg(config).arg("test-dial");
    let output = timeout(SOON * 2, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("FAIL  relay-websocket") && said.contains("proxy_http_version 1.1"), "{said}");
    proxy.abort();
}
