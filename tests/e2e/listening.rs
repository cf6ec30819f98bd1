//! The host listens on nothing, whatever streams it carries.

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::netns::Namespace;
use crate::world::{Client, SOON};

const TARGETS: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n\
    [target.sh]\nkind = 'exec'\nargv = ['/bin/sh']\npty = true\nenv = { PS1 = '$ ' }\n";

#[tokio::test]
async fn a_host_behind_a_closed_door_serves_streams_and_listens_on_nothing() {
    let namespace = Namespace::new();
    let world = namespace.world(TARGETS).await;
    assert_eq!(namespace.listeners(), "");
    let mut cat = world.open("cat").await;
    let mut shell = Client::connect(&world.url("sh").await, &["stream.v1"]).await;
    shell.read_until("$ ").await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    for piece in sent.chunks(50_000) {
        cat.send(piece.to_vec()).await;
        assert!(cat.read(piece.len()).await == piece);
        assert_eq!(namespace.listeners(), "");
    }
    // A listener of another program proves that the check can see listeners.
    let mut command = namespace.command("python3");
    command.args(["-m", "http.server", "7777"]).current_dir(world.path("nats"));
    let listener = crate::world::Process::start(command, world.path("listener.log"));
    let deadline = Instant::now() + SOON;
    while namespace.listeners().is_empty() {
        assert!(Instant::now() < deadline, "{}", listener.said());
        tokio::task::yield_now().await;
    }
    // The firewall is closed: the port listens, but no connection arrives.
    let connecting = TcpStream::connect((namespace.far.as_str(), 7777));
    assert!(timeout(std::time::Duration::from_secs(2), connecting).await.is_err());
    listener.kill().await;
    cat.send(b"still".to_vec()).await;
    assert_eq!(cat.read(5).await, b"still");
    shell.close().await;
    cat.close().await;
    world.agent().says("stream ended, target cat").await;
    assert_eq!(namespace.listeners(), "");
}
