//! A broken stream does not look like success, and what a client receives names nothing of the host.

use std::fs;
use std::io::Write;
use std::time::Duration;

use futures_util::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Client, SOON, World, eventually};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";

/// After two unanswered pings a connection is dead, so a black hole is noticed within three seconds.
const PINGS: &str = "[limits]\nping_interval = '1s'\n";

/// What a middlebox does to the connections through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Fin,
    Rst,
    Hole,
}

/// A middlebox in front of the relay.
pub(crate) struct Middlebox {
    pub port: u16,
    way: broadcast::Sender<Way>,
}

impl Middlebox {
    pub(crate) async fn before(relay: String) -> Middlebox {
        let (ip, _) = relay.split_once(':').unwrap();
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (way, _) = broadcast::channel(1);
        let ways = way.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, relay.clone(), ways.subscribe()));
            }
        });
        Middlebox { port, way }
    }

    /// Does this to every connection that is open now.
    pub(crate) fn breaks(&self, way: Way) {
        self.way.send(way).unwrap();
    }
}

async fn pass(mut near: TcpStream, to: String, mut ways: broadcast::Receiver<Way>) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    let way = {
        let moving = copy_bidirectional(&mut near, &mut far);
        tokio::select! {
            _ = moving => return,
            way = ways.recv() => way.unwrap(),
        }
    };
    match way {
        Way::Fin => {
            let _ = tokio::join!(near.shutdown(), far.shutdown());
        }
        Way::Rst => {
            for socket in [&near, &far] {
                SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
            }
            return;
        }
        Way::Hole => {}
    }
    // The connection stays open, and is neither read nor written any more.
    std::future::pending::<()>().await;
}

/// A world whose host reaches the relay through a middlebox; clients go around it.
async fn behind_middlebox(targets: &str) -> (World, Middlebox) {
    let mut world = World::new();
    let middlebox = Middlebox::before(format!("{}:8080", world.ip)).await;
    world.public_port = middlebox.port;
    world.relay_config = PINGS.into();
    world.targets = targets.into();
    world.start().await;
    (world, middlebox)
}

fn direct(world: &World, url: &str) -> String {
    url.replacen(&format!(":{}", world.public_port), ":8080", 1)
}

async fn echoes(client: &mut Client) {
    client.send(b"x".to_vec()).await;
    assert_eq!(client.read(1).await, b"x");
}

#[tokio::test]
async fn whichever_way_the_host_is_lost_its_client_is_told_so() {
    let (mut world, middlebox) = behind_middlebox(CAT).await;
    for way in [Some(Way::Fin), Some(Way::Rst), Some(Way::Hole), None] {
        let mut client = Client::connect(&direct(&world, &world.url("cat").await), &[]).await;
        echoes(&mut client).await;
        match way {
            Some(way) => middlebox.breaks(way),
            None => world.agent.take().unwrap().kill().await,
        }
        assert_eq!(client.closed_with(4503).await, "connection to the host was lost", "{way:?}");
    }
    world.metric_is("stream_relay_streams_ended_total{end=\"peer_lost\"}", 4.0).await;
}

#[tokio::test]
async fn whichever_way_the_client_or_the_relay_is_lost_the_hosts_record_says_so() {
    let mut world = World::new();
    world.relay_config = PINGS.into();
    world.targets = CAT.into();
    world.start().await;
    let middlebox = Middlebox::before(format!("{}:8080", world.ip)).await;
    let lost = |world: &World| world.agent().said().matches("end=\"peer_lost\"").count();
    for (count, way) in [Some(Way::Fin), Some(Way::Rst), Some(Way::Hole), None].into_iter().enumerate() {
        let url = world.url("cat").await.replacen(":8080", &format!(":{}", middlebox.port), 1);
        let mut client = Client::connect(&url, &[]).await;
        echoes(&mut client).await;
        match way {
            Some(way) => middlebox.breaks(way),
            None => world.relay.take().unwrap().kill().await,
        }
        eventually(|| lost(&world) == count + 1, || format!("{way:?}: {}", world.agent().said())).await;
        if way.is_some() {
            world.agent().says("connection to the client was lost").await;
        } else {
            // No one can send a close frame: a browser reports 1006.
            let end = timeout(SOON, client.socket.next()).await.unwrap();
            assert!(!matches!(end, Some(Ok(Message::Close(_)))), "{end:?}");
        }
    }
}

/// Opens a target as a third-party client does, breaks the stream, and returns the close code and reason.
async fn broken(world: &World, target: &str, first: &str, breaks: impl AsyncFnOnce()) -> (u16, String) {
    let mut client = world.open(target).await;
    client.read_until(first).await;
    breaks().await;
    let (_, code, reason) = client.rest().await;
    let dir = world.dir.path().to_str().unwrap();
    assert!(!reason.contains(dir) && !reason.contains(&world.ip), "{reason}");
    (code, reason)
}

#[tokio::test]
async fn a_target_that_fails_is_no_good_end_and_only_the_record_has_the_details() {
    let mut world = World::new();
    let service = TcpListener::bind((world.ip.as_str(), 0)).await.unwrap();
    world.targets = format!(
        "[target.pipe]\nkind = 'fifo'\npath = 'DIR/pipe'\n\
         [target.log]\nkind = 'file'\npath = 'DIR/logs/app'\nhistory = 2\n\
         [target.tcp]\nkind = 'tcp'\naddress = '{}'\n",
        service.local_addr().unwrap()
    );
    nix::unistd::mkfifo(&world.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(world.path("logs")).unwrap();
    fs::write(world.path("logs/app"), "line\n").unwrap();
    world.start().await;

    let said = broken(&world, "log", "line", async || fs::remove_dir_all(world.path("logs")).unwrap()).await;
    assert_eq!(said, (4502, "the target was removed".into()));
    world.agent().says("the log's directory was removed or renamed").await;

    // Closing a socket with unread bytes resets the connection.
    let serve = async {
        let mut socket = service.accept().await.unwrap().0;
        socket.write_all(b"welcome").await.unwrap();
        socket.read_u8().await.unwrap();
    };
    let mut client = Client::connect(&world.url("tcp").await, &["stream.v1"]).await;
    client.send(b"unread".to_vec()).await;
    serve.await;
    let (bytes, code, reason) = client.rest().await;
    assert_eq!((&bytes[..], code), (&b"welcome"[..], 4502), "{reason}");
    assert_eq!(reason, "the target's connection was reset");

    let writer = std::thread::spawn({
        let pipe = world.path("pipe");
        move || {
            let mut end = fs::OpenOptions::new().write(true).open(pipe).unwrap();
            end.write_all(b"one\n").unwrap();
            end
        }
    });
    let (code, reason) = broken(&world, "pipe", "one", async || {
        fs::remove_file(world.path("pipe")).unwrap();
        drop(writer.join().unwrap());
    })
    .await;
    assert_eq!((code, reason.as_str()), (4502, "the target was removed"));
}

#[tokio::test]
async fn a_damaged_part_of_a_history_is_no_good_end() {
    let mut world = World::new();
    world.targets = "[target.log]\nkind = 'file'\npath = 'DIR/app'\nhistory = 2\n".into();
    fs::write(world.path("app"), "line\n").unwrap();
    fs::write(world.path("app.1.gz"), "").unwrap();
    world.start().await;
    let mut client = Client::connect(&world.url("log").await, &["stream.v1"]).await;
    client.read_until("line").await;
    client.send_text(r#"{"type":"since","time":1}"#).await;
    // Either the rest goes on, or the client is closed with the reason.
    let append = || fs::OpenOptions::new().append(true).open(world.path("app")).unwrap();
    append().write_all(b"more\n").unwrap();
    loop {
        match client.next().await {
            Message::Binary(bytes) if bytes.windows(4).any(|part| part == b"more") => return,
            Message::Binary(_) | Message::Text(_) => {}
            Message::Close(Some(close)) => {
                assert_eq!(u16::from(close.code), 4502, "{}", close.reason);
                return assert_eq!(close.reason, "a part of the log cannot be read");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_exit_status_comes_when_the_program_ends_however_long_after_its_output() {
    let world = World::with(
        "[target.job]\nkind = 'exec'\nargv = ['/bin/sh', '-c', 'echo out; exec >&- 2>&-; sleep 3; exit 7']\n",
    )
    .await;
    let mut client = Client::connect(&world.url("job").await, &["stream.v1"]).await;
    assert_eq!(client.read(4).await, b"out\n");
    assert_eq!(client.next().await, Message::text(r#"{"type":"exit","code":7}"#));
    assert_eq!(client.closed_with(1000).await, "target ended");
    // A client that leaves during this ends the program.
    let client = Client::connect(&world.url("job").await, &["stream.v1"]).await;
    client.close().await;
    world.metric_is("stream_relay_streams", 0.0).await;
}

#[tokio::test]
async fn a_program_that_is_killed_is_no_good_end_for_a_client_that_gets_no_exit_status() {
    let world =
        World::with("[target.job]\nkind = 'exec'\nargv = ['/bin/sh', '-c', 'echo $$; exec sleep 600']\n")
            .await;
    for (protocols, code, reason) in
        [(&[][..], 4502, "the program was killed"), (&["stream.v1"], 1000, "target ended")]
    {
        let mut client = Client::connect(&world.url("job").await, protocols).await;
        let pid = client.read_until("\n").await.trim().parse().unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        if !protocols.is_empty() {
            assert_eq!(client.next().await, Message::text(r#"{"type":"exit","code":137}"#));
        }
        assert_eq!(client.closed_with(code).await, reason);
    }
}

#[tokio::test]
async fn a_platforms_stop_is_no_good_end_and_its_reason_is_one_short_line() {
    let world = World::with(CAT).await;
    let (_, session) = world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "cat" })).await;
    let mut client = Client::connect(session["url"].as_str().unwrap(), &[]).await;
    echoes(&mut client).await;
    let id = session["session"].as_str().unwrap();
    let stop = json!({ "session": id, "reason": format!("maintenance\n{}", "x".repeat(2000)) });
    let mut nats = TcpStream::connect((world.ip.as_str(), 4222)).await.unwrap();
    let stop = stop.to_string();
    let publish = format!(
        "CONNECT {{\"verbose\":false}}\r\nPUB stream.v1.host.h1.stop {}\r\n{stop}\r\nPING\r\n",
        stop.len()
    );
    nats.write_all(publish.as_bytes()).await.unwrap();
    let _ = nats.read(&mut [0; 1024]).await.unwrap();
    let (_, code, reason) = client.rest().await;
    assert_eq!((code, reason.len()), (4410, 123));
    assert!(reason.starts_with("maintenance xxx"), "{reason}");
}
