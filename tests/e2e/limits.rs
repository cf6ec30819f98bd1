//! The relay's limits on time and memory, and its operator's questions.

use std::io::Write;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{Client, RELAY, SOON, World, eventually, started};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nmax_streams = 2\n";

#[tokio::test]
async fn waiting_clients_are_counted_by_address() {
    let mut world = World::new();
    world.relay_config = "[limits]\nwaiting_per_address = 2\nclient_wait = '20s'\n".into();
    world.targets = CAT.into();
    world.start().await;
    let unknown = format!("{}/v1/stream/{}", world.relay_url(), "A".repeat(43));
    let mut first = Client::connect(&unknown, &[]).await;
    let _second = Client::connect(&unknown, &[]).await;
    world.metric_is("stream_relay_clients_waiting", 2.0).await;
    assert_eq!(Client::connect(&unknown, &[]).await.closed_with(4429).await, "too many");
    // A client that leaves makes room.
    first.socket.close(None).await.unwrap();
    world.metric_is("stream_relay_clients_waiting", 1.0).await;
    let _third = Client::connect(&unknown, &[]).await;
    world.metric_is("stream_relay_clients_waiting", 2.0).await;
    assert_eq!(world.metric("stream_relay_clients_refused_total{end=\"too_many\"}").await, 1.0);
}

#[tokio::test]
async fn a_busy_target_says_so_and_is_free_again_at_once() {
    let world = World::with(CAT).await;
    let (one, _two) = (world.open("cat").await, world.open("cat").await);
    world.metric_is("stream_relay_streams", 2.0).await;
    let ask = || world.api("POST", "/api/v1/sessions", serde_json::json!({ "host": "h1", "target": "cat" }));
    assert_eq!(ask().await.1["code"], "busy");
    one.close().await;
    world.metric_is("stream_relay_streams", 1.0).await;
    let deadline = tokio::time::Instant::now() + SOON;
    while ask().await.0 != 201 {
        assert!(tokio::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn slow_and_long_requests_are_cut_off() {
    let mut world = World::new();
    world.relay_config = "[limits]\nrequest_head = '300ms'\ntls_handshake = '300ms'\n".into();
    world.targets = CAT.into();
    world.start().await;
    let connect = || TcpStream::connect((world.ip.as_str(), 8080));
    let mut silent = connect().await.unwrap();
    let mut slow = connect().await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    for stream in [&mut silent, &mut slow] {
        let mut answer = Vec::new();
        // Either a 408 or the end of the connection.
        let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection stays open");
    }
    let mut long = connect().await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "x".repeat(100_000));
    long.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // What was not read of the request resets the connection behind the answer.
    let _ = timeout(SOON, long.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    world.metric_is("stream_relay_connections", 0.0).await;
}

#[tokio::test]
async fn an_operator_asks_over_a_unix_socket() {
    let mut world = World::new();
    world.start_nats().await;
    let nats = world.nats.take().unwrap();
    world.write_relay_config();
    let config = world.path("relay/config.toml");
    let socket = world.path("admin.sock");
    let text = std::fs::read_to_string(&config).unwrap();
    let admin = format!("admin = '{}:8081'", world.admin_ip);
    assert!(text.contains(&admin), "{text}");
    std::fs::write(&config, text.replace(&admin, &format!("admin = 'unix:{}'", socket.display()))).unwrap();
    // A socket file of a killed relay does not prevent the start.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut command = Command::new(RELAY);
    command.arg("--config").arg(&config).arg("serve");
    let mut relay = started(command, &world.dir, "relay").await;
    relay.says("platform: NATS connected").await;
    let ask = |method: &str, path: &str| {
        let args = [
            "-s",
            "-m",
            "10",
            "-X",
            method,
            "-w",
            " %{http_code}",
            "--unix-socket",
            socket.to_str().unwrap(),
        ];
        world.run("curl", &[&args[..], &[&format!("http://admin{path}")]].concat())
    };
    assert_eq!(ask("GET", "/livez"), "ok\n 200");
    assert_eq!(ask("GET", "/readyz"), "ok\n 200");
    assert!(ask("GET", "/metrics").contains("stream_relay_build_info"));
    assert!(ask("GET", "/nothing").ends_with("404"));
    assert!(ask("POST", "/livez").ends_with("405"));
    nats.kill().await;
    eventually(|| ask("GET", "/readyz").ends_with("503"), || ask("GET", "/readyz")).await;
    assert_eq!(ask("GET", "/livez"), "ok\n 200");
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended().await, 0);
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_log_that_is_rotated_three_times_while_it_is_written_arrives_whole() {
    let mut world = World::new();
    let log = world.path("app.log");
    std::fs::write(&log, "").unwrap();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/app.log'\n".into();
    world.start().await;
    let mut client = world.open("log").await;
    // The stream is open when its first line comes.
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append("begin\n");
    client.read_until("begin\n").await;
    const LINES: usize = 20_000;
    let (path, dir) = (log.clone(), world.dir.path().to_owned());
    let writer = std::thread::spawn(move || {
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        for number in 0..LINES {
            if number % (LINES / 4) == 0 && number > 0 {
                // As logrotate does: shift, rename, create; the writer uses the old file for a moment longer.
                for old in (1..3).rev() {
                    let _ = std::fs::rename(
                        dir.join(format!("app.log.{old}")),
                        dir.join(format!("app.log.{}", old + 1)),
                    );
                }
                std::fs::rename(&path, dir.join("app.log.1")).unwrap();
                std::fs::write(&path, "").unwrap();
                writeln!(file, "line {number} late").unwrap();
                file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            } else {
                writeln!(file, "line {number}").unwrap();
            }
        }
    });
    let said = client.read_until(&format!("line {}\n", LINES - 1)).await;
    writer.join().unwrap();
    for (number, line) in said.lines().enumerate() {
        let expected = format!("line {number}");
        assert!(line == expected || line == format!("{expected} late"), "{line:?}, not {expected:?}");
    }
    assert_eq!(said.lines().count(), LINES);
    let _ = timeout(Duration::from_secs(5), client.close()).await;
}
