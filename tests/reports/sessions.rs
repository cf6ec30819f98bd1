//! One URL, one client: later streams of a session, and the limits that sessions count against.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{AGENT, Client, RELAY, World, eventually, started};

const SHELL: &str = "[target.shell]\nkind = 'exec'\nargv = ['/bin/sh']\npty = true\nuser = 'root'\n";

/// A world whose API key may open targets for any user.
fn of_anybody() -> World {
    let mut world = World::new();
    world.key_config = "users = ['*']\n".into();
    world
}

async fn world(targets: &str, relay_config: &str) -> World {
    let mut world = of_anybody();
    world.targets = targets.into();
    world.relay_config = relay_config.into();
    world.start().await;
    world
}

/// What the platform answers when a session is asked for.
async fn ask(world: &World, target: &str, user: &str) -> (u16, Value) {
    world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": target, "user": user })).await
}

async fn url(world: &World, target: &str, user: &str) -> String {
    let (status, answer) = ask(world, target, user).await;
    assert_eq!(status, 201, "{answer}");
    answer["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_second_client_of_a_terminals_url_gets_no_terminal() {
    let world = world(&format!("{SHELL}max_streams = 4\n"), "").await;
    let url = url(&world, "shell", "alice").await;
    let mut first = Client::connect(&url, &[]).await;
    first.is_answered().await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    Client::connect(&url, &[]).await.closed_with(4409).await;
    // The same browser gets no second stream either: the target allows one per session.
    Client::connect_with(&url, &[], &[("cookie", &cookie)]).await.closed_with(4409).await;
    first.is_answered().await;
}

#[tokio::test]
async fn a_url_that_nobody_used_takes_no_place() {
    let world = world(&format!("{SHELL}max_streams = 1\n"), "").await;
    let early = [url(&world, "shell", "alice").await, url(&world, "shell", "alice").await];
    let last = url(&world, "shell", "alice").await;
    let mut client = Client::connect(&last, &[]).await;
    client.is_answered().await;
    // The target is busy now, both for new requests and for URLs from before.
    let (status, refusal) = ask(&world, "shell", "bob").await;
    assert_eq!((status, &refusal["code"]), (409, &json!("busy")), "{refusal}");
    let words = Client::connect(&early[0], &[]).await.closed_with(4429).await;
    assert!(words.contains("all places are taken"), "{words}");
    world.agent().says("target shell has 1 stream open, its limit").await;
    client.close().await;
    world.metric_is("stream_relay_streams", 0.0).await;
    Client::connect(&early[1], &[]).await.is_answered().await;
}

#[tokio::test]
async fn the_oldest_unused_url_of_the_same_user_gives_way() {
    let mut world = of_anybody();
    world.targets = SHELL.into();
    world.agent_config = "[limits]\nunused = 3\n".into();
    world.relay_config = "[limits]\nclient_wait = '100ms'\n".into();
    world.start().await;
    let bobs = url(&world, "shell", "bob").await;
    let mut alices = Vec::new();
    for _ in 0..3 {
        alices.push(url(&world, "shell", "alice").await);
    }
    world.relay().says("parked host left unlinked: its URL was not used, and gave way to a newer one").await;
    let is_recorded = || world.agent().said().contains("its URL was not used, and gave way to a newer one");
    eventually(is_recorded, || world.agent().said()).await;
    Client::connect(&alices[0], &[]).await.closed_with(4404).await;
    for good in [&alices[1], &alices[2], &bobs] {
        Client::connect(good, &[]).await.is_answered().await;
    }
}

/// A target that carries several streams in one session: an echo behind a unix socket.
const ECHO: &str = "[target.echo]\nkind = 'unix'\npath = 'DIR/echo.sock'\nmax_streams = 8\n";

fn serve_echo(world: &World) {
    let listener = tokio::net::UnixListener::bind(world.path("echo.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
}

async fn echoing(config: &str) -> World {
    let world = world(ECHO, config).await;
    serve_echo(&world);
    world
}

async fn echoes(client: &mut Client) {
    client.send(b"hello".to_vec()).await;
    assert_eq!(client.read(5).await, b"hello");
}

#[tokio::test]
async fn later_streams_show_the_key_that_the_first_one_got() {
    let world = echoing("").await;
    let url = url(&world, "echo", "alice").await;
    let mut first = Client::connect(&url, &["stream.v1"]).await;
    let message = first.next().await.into_text().unwrap();
    let message: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(message["type"], "session");
    let key = format!("stream.session.{}", message["key"].as_str().unwrap());
    echoes(&mut first).await;
    let mut second = Client::connect(&url, &[&key, "stream.v1"]).await;
    assert_eq!(second.headers["sec-websocket-protocol"], "stream.v1");
    assert!(!second.headers.contains_key("set-cookie"));
    // The key is sent once.
    echoes(&mut second).await;
    let wrong = format!("stream.session.{}", "A".repeat(43));
    for stranger in [&["stream.v1"][..], &[&wrong, "stream.v1"]] {
        let words = Client::connect(&url, stranger).await.closed_with(4409).await;
        assert!(words.contains("key or cookie"), "{words}");
    }
}

#[tokio::test]
async fn an_address_counts_only_if_a_trusted_proxy_names_it() {
    let trusting = echoing("trusted_proxies = ['127.0.0.1/32']\n").await;
    let from = |address| [("x-forwarded-for", address)];
    let good = url(&trusting, "echo", "alice").await;
    echoes(&mut Client::connect_with(&good, &[], &from("192.0.2.1")).await).await;
    let _kept = {
        let url = url(&trusting, "echo", "alice").await;
        let mut first = Client::connect_with(&url, &[], &from("192.0.2.1")).await;
        echoes(&mut first).await;
        let mut second = Client::connect_with(&url, &[], &from("192.0.2.1")).await;
        echoes(&mut second).await;
        Client::connect_with(&url, &[], &from("192.0.2.2")).await.closed_with(4409).await;
        (first, second)
    };
    // An untrusted proxy on loopback: all its clients share one address.
    let world = echoing("").await;
    let url = url(&world, "echo", "alice").await;
    let mut first = Client::connect(&url, &[]).await;
    echoes(&mut first).await;
    Client::connect(&url, &[]).await.closed_with(4409).await;
    Client::connect_with(&url, &[], &from("127.0.0.1")).await.closed_with(4409).await;
}

#[tokio::test]
async fn a_cookie_goes_to_pages_of_other_sites_only_with_tls() {
    let mut world = World::new();
    world.relay_config = "# no platform\n[limits]\nclient_wait = '0s'\n".into();
    world.start_relay().await;
    let unknown = format!("{}/v1/stream/{}", world.relay_url(), "A".repeat(43));
    let client = Client::connect(&unknown, &[]).await;
    let cookie = client.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; Path=/v1/stream/; HttpOnly; SameSite=Lax"), "{cookie}");
    // A proxy in front has the certificate.
    let config = std::fs::read_to_string(world.path("relay/config.toml")).unwrap();
    let config = config.replace(&format!("'ws://{}", world.ip), &format!("'wss://{}", world.ip));
    std::fs::write(world.path("relay/config.toml"), config).unwrap();
    world.relay().signal(nix::sys::signal::Signal::SIGHUP);
    world.relay().says("configuration reloaded").await;
    let client = Client::connect(&unknown, &[]).await;
    let cookie = client.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=None; Secure; Partitioned"), "{cookie}");
}

#[tokio::test]
async fn strangers_that_wait_keep_out_nobody_whose_host_is_parked() {
    let world = echoing("[limits]\nwaiting = 8\nwaiting_per_address = 4\nclient_wait = '20s'\n").await;
    let parked = url(&world, "echo", "alice").await;
    let mut strangers = Vec::new();
    for number in 0..4_u8 {
        let token = char::from(b'A' + number).to_string().repeat(42) + "A";
        strangers.push(Client::connect(&format!("{}/v1/stream/{token}", world.relay_url()), &[]).await);
    }
    world.metric_is("stream_relay_clients_waiting", 4.0).await;
    let unknown = format!("{}/v1/stream/{}", world.relay_url(), "Q".repeat(42) + "A");
    Client::connect(&unknown, &[]).await.closed_with(4429).await;
    let mut client = Client::connect(&parked, &["stream.v1"]).await;
    let message: Value = serde_json::from_str(&client.next().await.into_text().unwrap()).unwrap();
    echoes(&mut client).await;
    // The same for a later stream of an open session, with and without a parked spare.
    let key = format!("stream.session.{}", message["key"].as_str().unwrap());
    for _ in 0..3 {
        echoes(&mut Client::connect(&parked, &[&key, "stream.v1"]).await).await;
    }
}

/// Dials as a host, and gives the first line of the answer.
async fn dial(world: &World, grant: &str, more: &str) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let mut stream = tokio::net::TcpStream::connect((world.ip.as_str(), 8080)).await.unwrap();
    let head = format!(
        "GET /v1/host HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nauthorization: Bearer {grant}\r\nstream-max-streams: 8\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn whoever_saw_a_grant_takes_no_later_stream() {
    let world = echoing("").await;
    let nats = async_nats::connect(world.nats_url()).await.unwrap();
    let mut starts = nats.subscribe("stream.v1.host.h1.start").await.unwrap();
    nats.flush().await.unwrap();
    let url = url(&world, "echo", "alice").await;
    use futures_util::StreamExt;
    let start: Value = serde_json::from_slice(&starts.next().await.unwrap().payload).unwrap();
    let grant = start["grant"].as_str().unwrap();
    let mut first = Client::connect(&url, &[]).await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    echoes(&mut first).await;
    for more in ["", "stream-session-secret: ?1\r\n", "stream-session-secret: guessed\r\n"] {
        let answer = dial(&world, grant, more).await;
        assert!(answer.starts_with("HTTP/1.1 409"), "{more}{answer}");
    }
    let mut later = Vec::new();
    for _ in 0..7 {
        let mut client = Client::connect_with(&url, &[], &[("cookie", &cookie)]).await;
        echoes(&mut client).await;
        later.push(client);
    }
    assert_eq!(world.metric("stream_relay_hosts_without_secret_total").await, 0.0);
}

#[tokio::test]
async fn local_connections_to_one_url_are_streams_of_one_session() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    let world =
        world(&format!("{ECHO}[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n"), "").await;
    serve_echo(&world);
    let echoes = async |port: &str| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut said = [0; 5];
        let read = stream.read_exact(&mut said).await;
        (stream, read.is_ok() && &said == b"hello")
    };
    for (target, is_several) in [("echo", true), ("cat", false)] {
        let file = world.secret(&format!("{target}.url"), &url(&world, target, "alice").await);
        let mut command = tokio::process::Command::new(crate::world::RELAY);
        command.args(["open", "--listen", "127.0.0.1:0", "--url-file"]).arg(file);
        let mut open = crate::world::Process::start(command, world.path(&format!("{target}.log")));
        open.says("listening at 127.0.0.1:").await;
        let said = open.said();
        let port = said.lines().find_map(|line| line.strip_prefix("listening at 127.0.0.1:")).unwrap();
        let (first, is_first) = echoes(port).await;
        assert!(is_first, "{}", open.said());
        let (second, is_second) = echoes(port).await;
        assert_eq!(is_second, is_several, "{target}: {}", open.said());
        // The session ends with its last stream, and so does `open`.
        drop((first, second));
        assert_eq!(open.ended().await, 0, "{}", open.said());
    }
    world.agent().says("stream=2").await;
}

#[tokio::test]
async fn a_debug_line_of_a_stream_names_its_session_and_no_secret() {
    let mut world = World::new();
    world.targets = SHELL.into();
    world.start_nats().await;
    world.write_relay_config();
    world.write_agent_config();
    for (program, config, verb) in [(RELAY, "relay", "serve"), (AGENT, "agent", "run")] {
        let mut command = Command::new(program);
        command.args(["--log-level", "debug", "--config"]).arg(world.path(&format!("{config}/config.toml")));
        command.arg(verb);
        let process = Some(started(command, &world.dir, config).await);
        *(if program == RELAY { &mut world.relay } else { &mut world.agent }) = process;
    }
    world.relay().says("platform: NATS connected").await;
    let (status, answer) =
        world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "shell" })).await;
    assert_eq!(status, 201, "{answer}");
    let url = answer["url"].as_str().unwrap();
    let session = answer["session"].as_str().unwrap();
    let token = url.rsplit('/').next().unwrap();
    let mut client = Client::connect(url, &[]).await;
    client.is_answered().await;
    let span = format!("stream{{session=\"{session}\" stream=1}}: ");
    for (process, line) in
        [(world.relay(), "client and host are linked"), (world.agent(), "the target is open")]
    {
        process.says(line).await;
        let said = process.said();
        let named = said.lines().find(|said| said.contains(line)).unwrap();
        assert!(named.contains(&span), "{named}");
        assert!(!said.contains(token), "{said}");
        // A record has the session in one field, once.
        let record = said.lines().find(|said| said.contains("stream started")).unwrap();
        assert_eq!(record.matches(session).count(), 1, "{record}");
    }
}
