//! Parts that die and come back: what does not depend on them continues, and the rest recovers.

use nix::sys::signal::Signal;

use crate::world::{Client, World};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";

async fn echoes(client: &mut Client, text: &str) {
    client.send(text.as_bytes().to_vec()).await;
    assert_eq!(client.read(text.len()).await, text.as_bytes());
}

#[tokio::test]
async fn streams_outlive_nats_and_new_ones_come_when_it_is_back() {
    let mut world = World::with(CAT).await;
    let mut client = world.open("cat").await;
    echoes(&mut client, "before").await;
    world.nats.take().unwrap().kill().await;
    world.agent().says("disconnected").await;
    echoes(&mut client, "while NATS is away").await;
    let (status, answer) =
        world.api("POST", "/api/v1/sessions", serde_json::json!({"host":"h1","target":"cat"})).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("unavailable")), "{answer}");
    world.start_nats().await;
    let deadline = tokio::time::Instant::now() + crate::world::SOON;
    loop {
        let (status, answer) =
            world.api("POST", "/api/v1/sessions", serde_json::json!({"host":"h1","target":"cat"})).await;
        if status == 201 {
            break echoes(&mut Client::connect(answer["url"].as_str().unwrap(), &[]).await, "after").await;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    echoes(&mut client, "still there").await;
}

#[tokio::test]
async fn a_relay_that_is_killed_takes_its_streams_with_it_and_serves_new_ones_at_once() {
    let mut world = World::with(CAT).await;
    let mut client = world.open("cat").await;
    echoes(&mut client, "before").await;
    world.relay.take().unwrap().kill().await;
    world.agent().says("stream ended, target cat").await;
    world.start_relay().await;
    // Grants of the second in which a relay starts might be older than it: ask until one is new.
    let deadline = tokio::time::Instant::now() + crate::world::SOON;
    loop {
        let (status, answer) =
            world.api("POST", "/api/v1/sessions", serde_json::json!({"host":"h1","target":"cat"})).await;
        if status == 201 {
            break echoes(&mut Client::connect(answer["url"].as_str().unwrap(), &[]).await, "after").await;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_relay_that_stops_lets_streams_finish_and_then_says_why() {
    let mut world = World::new();
    world.relay_config = "[limits]\ndrain_timeout = '1s'\n".into();
    world.targets = CAT.into();
    world.start().await;
    let mut client = world.open("cat").await;
    echoes(&mut client, "before").await;
    let waiting = world.url("cat").await;
    world.relay().signal(Signal::SIGTERM);
    world.agent().says("relay restarting").await;
    echoes(&mut client, "while it drains").await;
    assert_eq!(client.closed_with(1012).await, "relay restarting");
    assert_eq!(world.relay.as_mut().unwrap().ended().await, 0);
    assert!(tokio_tungstenite::connect_async(waiting).await.is_err());
}

#[tokio::test]
async fn an_agent_that_is_killed_ends_its_streams_only_and_comes_back() {
    let mut world = World::with(CAT).await;
    let mut client = world.open("cat").await;
    echoes(&mut client, "before").await;
    let unused = world.url("cat").await;
    world.agent.take().unwrap().kill().await;
    assert_eq!(client.closed_with(4503).await, "connection to the host was lost");
    world.metric_is("stream_relay_hosts_parked", 0.0).await;
    Client::connect(&unused, &[]).await.closed_with(4404).await;
    let (status, _) =
        world.api("POST", "/api/v1/sessions", serde_json::json!({"host":"h1","target":"cat"})).await;
    assert_eq!(status, 404);
    world.start_agent().await;
    echoes(&mut world.open("cat").await, "after").await;
}

#[tokio::test]
async fn an_agent_that_stops_says_so_to_everybody() {
    let mut world = World::new();
    world.agent_config = "[limits]\ndrain_timeout = '0s'\n".into();
    world.targets = CAT.into();
    world.start().await;
    let mut client = world.open("cat").await;
    echoes(&mut client, "before").await;
    world.agent().signal(Signal::SIGTERM);
    assert_eq!(client.closed_with(1001).await, "host is shutting down");
    assert_eq!(world.agent.as_mut().unwrap().ended().await, 0);
}

#[tokio::test]
async fn two_agents_with_one_host_id_notice_each_other() {
    let world = World::with(CAT).await;
    let second = crate::world::started(world.agent_command(), &world.dir, "second").await;
    world.agent().says("another agent answers for host id h1").await;
    second.says("another agent answers for host id h1").await;
}
