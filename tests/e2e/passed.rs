//! Sockets that systemd has bound and passes to the relay.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{Process, RELAY, SOON, World, started_with_input};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";

/// The relay, with a socket as systemd would pass it; `before` is a program that starts it.
fn with_socket(world: &World, socket: impl Into<OwnedFd>, name: &str, before: &str) -> Command {
    let take = "exec 3<&0 0</dev/null";
    let variables = format!("LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES={name}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{take}; {variables} exec {before} \"$@\""), "sh", RELAY, "--config"]);
    command.arg(world.path("relay/config.toml")).arg("serve");
    command.stdin(Stdio::from(socket.into()));
    command
}

/// The answer to a plain request.
async fn asked(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("no answer").unwrap();
    answer
}

#[tokio::test]
async fn sockets_of_systemd_are_served_in_place_of_the_configured_ones() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.start_nats().await;
    world.write_relay_config();
    // The passed sockets are elsewhere.
    let config = world.path("relay/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(":8080']\nadmin", ":9999']\nadmin").replace(":8081", ":9998"))
        .unwrap();
    let (ip, file) = (&world.ip, world.path("public.sock"));
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &format!("{ip}:8080"), "-l", file.to_str().unwrap(), "-l", &format!("{ip}:8081")]);
    command.arg("--fdname=web:local:admin").args([RELAY, "--config", config.to_str().unwrap(), "serve"]);
    let mut relay = Process::start(command, world.path("relay.log"));
    world.connects(8080).await;
    relay.says("platform: NATS connected").await;
    for line in [
        format!("listening at {ip}:8080, a socket of systemd (web)"),
        format!("listening at unix:{}, a socket of systemd (local)", file.display()),
        format!("admin at {ip}:8081, a socket of systemd (admin)"),
        "`listen` is not used".to_owned(),
    ] {
        relay.says(&line).await;
    }
    assert!(TcpStream::connect(format!("{ip}:9999")).await.is_err());
    assert!(TcpStream::connect(format!("{ip}:9998")).await.is_err());
    assert_eq!(world.metric("stream_relay_streams").await, 0.0);
    world.start_agent().await;
    let mut client = world.open("cat").await;
    client.send(b"x".to_vec()).await;
    assert_eq!(client.read(1).await, b"x");
    let curl = ["-s", "--unix-socket", file.to_str().unwrap(), "http://x/x"];
    assert!(world.run("curl", &curl).contains("nothing is here"));
    assert!(!relay.said().contains("in clear"), "{}", relay.said());
    // A reload binds nothing again.
    relay.signal(Signal::SIGHUP);
    relay.says("configuration reloaded").await;
    client.send(b"y".to_vec()).await;
    assert_eq!(client.read(1).await, b"y");
    client.close().await;
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended().await, 0);
    assert!(file.exists(), "the file of a passed socket is not ours to remove");
}

#[tokio::test]
async fn while_it_drains_connections_queue_for_the_next_relay() {
    let mut world = World::new();
    world.relay_config = "[limits]\ndrain_timeout = '60s'\n".into();
    world.targets = CAT.into();
    world.start_nats().await;
    world.write_relay_config();
    let address = format!("{}:8080", world.ip);
    let socket = TcpListener::bind(&address).unwrap();
    let command = with_socket(&world, socket.try_clone().unwrap(), "web", "");
    let mut first = started_with_input(command, &world.dir, "relay").await;
    first.says("platform: NATS connected").await;
    world.start_agent().await;
    let mut client = world.open("cat").await;
    client.send(b"x".to_vec()).await;
    assert_eq!(client.read(1).await, b"x");
    // A waiting host is closed when the relay has stopped accepting.
    world.url("cat").await;
    first.signal(Signal::SIGTERM);
    world.agent().says("relay restarting").await;
    let mut queued = Box::pin(asked(&address));
    let early = timeout(std::time::Duration::from_millis(300), &mut queued).await;
    assert!(early.is_err(), "a relay that drains has answered: {early:?}");
    client.close().await;
    assert_eq!(first.ended().await, 0);
    let command = with_socket(&world, socket, "web", "");
    let _second = started_with_input(command, &world.dir, "second").await;
    assert!(queued.await.contains("nothing is here"));
}

#[tokio::test]
async fn a_relay_without_a_network_serves_the_socket_that_it_was_given() {
    let mut world = World::new();
    world.relay_config = "# no platform\n".into();
    world.write_relay_config();
    let config = world.path("relay/config.toml");
    // An address of this machine that is not loopback, though nobody else can reach it here.
    let text = std::fs::read_to_string(&config).unwrap();
    let admin = format!("admin = 'unix:{}'", world.path("admin.sock").display());
    std::fs::write(&config, text.replace(&format!("admin = '{}:8081'", world.ip), &admin)).unwrap();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = format!("{}:{}", world.ip, socket.local_addr().unwrap().port());
    let command = with_socket(&world, socket, "web", "unshare --net");
    let relay = started_with_input(command, &world.dir, "relay").await;
    assert!(asked(&address).await.contains("nothing is here"));
    relay.says("is served without [tls]: tokens and streams travel in clear").await;
    let pid = relay.pid().to_string();
    assert_eq!(world.run("nsenter", &["--net", "--target", &pid, "ss", "-H", "-ltnu"]), "");
}

#[tokio::test]
async fn a_socket_that_cannot_be_served_is_an_error_of_configuration() {
    let world = World::new();
    world.write_relay_config();
    let file = world.path("listening");
    let sockets: [(OwnedFd, &str, &str); 3] = [
        (std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(), "web", "is a datagram socket"),
        (std::os::unix::net::UnixStream::pair().unwrap().0.into(), "web", "does not listen"),
        (TcpListener::bind("0.0.0.0:0").unwrap().into(), "admin", "it needs no password"),
    ];
    for (socket, name, why) in sockets {
        let output = with_socket(&world, socket, name, "").output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(&format!("the socket {name} of systemd")) && said.contains(why), "{said}");
    }
    // Names that do not fit are errors as well.
    let socket = UnixListener::bind(file).unwrap();
    let output = with_socket(&world, socket, "a:b", "").output().await.unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}
