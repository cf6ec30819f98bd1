//! One URL, one client: later streams of a session, and the places that sessions hold.

use serde_json::{Value, json};

use crate::world::{Client, World, eventually};

const SHELL: &str = "[target.shell]\nkind = 'exec'\nargv = ['/bin/sh']\npty = true\nuser = 'root'\n";

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
    let world = World::with(&format!("{SHELL}max_streams = 4\n")).await;
    let url = url(&world, "shell", "alice").await;
    let mut first = Client::connect(&url, &[]).await;
    first.is_answered().await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    Client::connect(&url, &[]).await.closed_with(4409).await;
    // The same browser gets none either: the target has one stream a session.
    Client::connect_with(&url, &[], &[("cookie", &cookie)]).await.closed_with(4409).await;
    first.is_answered().await;
}

#[tokio::test]
async fn a_url_that_nobody_used_takes_no_place() {
    let world = World::with(&format!("{SHELL}max_streams = 1\n")).await;
    let early = [url(&world, "shell", "alice").await, url(&world, "shell", "alice").await];
    let last = url(&world, "shell", "alice").await;
    let mut client = Client::connect(&last, &[]).await;
    client.is_answered().await;
    // A place is taken now: that is said to whoever asks, and to whoever comes with a URL from before.
    let (status, refusal) = ask(&world, "shell", "bob").await;
    assert_eq!((status, &refusal["code"]), (409, &json!("busy")), "{refusal}");
    let words = Client::connect(&early[0], &[]).await.closed_with(4429).await;
    assert!(words.contains("all places are taken"), "{words}");
    world.agent().says("target shell has 1 streams open, its limit").await;
    client.close().await;
    world.metric_is("stream_relay_streams", 0.0).await;
    Client::connect(&early[1], &[]).await.is_answered().await;
}

#[tokio::test]
async fn the_oldest_unused_url_of_the_same_user_gives_way() {
    let mut world = World::new();
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
