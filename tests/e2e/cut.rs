//! A link that goes silent: both ends notice, and nothing waits for ever.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use crate::netns::Namespace;
use crate::world::{Client, World, within};

const TARGETS: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n\
    [target.flood]\nkind = 'exec'\nargv = ['/usr/bin/yes']\n";

/// The promised time.
const PROMISE: Duration = Duration::from_secs(60);

/// What a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(3);

/// Reads until the client is closed; gives the code.
async fn close_code(client: &mut Client, deadline: Instant) -> u16 {
    loop {
        let message = timeout_at(deadline, client.socket.next()).await.expect("the client is not closed");
        if let Message::Close(close) = message.unwrap().unwrap() {
            // The relay waits for our answer, which goes out when we listen on.
            while let Ok(Some(Ok(_))) = timeout_at(deadline, client.socket.next()).await {}
            return close.unwrap().code.into();
        }
    }
}

/// Cuts the link, and says how many seconds relay and agent took to notice.
async fn cut(namespace: &Namespace, world: &World, client: &mut Client, what: &str) {
    let begun = Instant::now();
    namespace.cut();
    let relay = async {
        let code = close_code(client, begun + PROMISE + SLACK).await;
        (code, begun.elapsed())
    };
    let agent = async {
        let ended = || world.agent().said().contains("stream ended");
        within(PROMISE + SLACK, ended, || world.agent().said()).await;
        begun.elapsed()
    };
    let nats = async {
        let lost = || world.agent().said().contains("NATS: disconnected");
        within(PROMISE + SLACK, lost, || world.agent().said()).await;
        begun.elapsed()
    };
    let ((code, relay), agent, nats) = tokio::join!(relay, agent, nats);
    let seconds = [relay, agent, nats].map(|took| took.as_secs_f32());
    println!("{what}: noticed after [relay, agent, agent's NATS] {seconds:.1?} s");
    assert_eq!(code, 4503);
    world.relay().says("stream ended").await;
    world.metric_is("stream_relay_streams", 0.0).await;
    assert!(world.metric("stream_relay_connections").await <= 1.0);
}

#[tokio::test]
async fn both_ends_of_an_idle_stream_notice_a_cut_link() {
    let namespace = Namespace::new();
    let world = namespace.world(TARGETS).await;
    let mut client = world.open("cat").await;
    client.send(b"before".to_vec()).await;
    assert_eq!(client.read(6).await, b"before");
    cut(&namespace, &world, &mut client, "idle").await;

    // When the link is back, everything recovers by itself.
    namespace.fix();
    let begun = Instant::now();
    let url = loop {
        let (status, answer) =
            world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "cat" })).await;
        if status == 201 {
            break answer["url"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed() < PROMISE, "{answer}\n{}", world.agent().said());
        sleep(Duration::from_millis(100)).await;
    };
    println!("served again {:.1} s after the link was fixed", begun.elapsed().as_secs_f32());
    let mut client = Client::connect(&url, &[]).await;
    client.send(b"after".to_vec()).await;
    assert_eq!(client.read(5).await, b"after");
    client.close().await;
}

#[tokio::test]
async fn both_ends_of_a_flood_notice_a_cut_link() {
    let namespace = Namespace::new();
    let world = namespace.world(TARGETS).await;
    let mut client = world.open("flood").await;
    let mut total = 0;
    while total < 16 << 20 {
        match client.next().await {
            Message::Binary(bytes) => total += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    cut(&namespace, &world, &mut client, "flood").await;
}
