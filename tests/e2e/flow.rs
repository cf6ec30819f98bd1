//! A stream's path from the platform's API to the target and back, with both nats-servers.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Client, NatsKind, World};

const TARGETS: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nmodes = ['rw', 'ro']\n\
    [target.sh]\nkind = 'exec'\nargv = ['/bin/sh']\npty = true\nenv = { PS1 = '$ ' }\n\
    [target.nowhere]\nkind = 'tcp'\naddress = '127.0.0.1:1'\ntitle = 'Nothing'\n";

async fn bytes_go_both_ways(nats: NatsKind) {
    let mut world = World::new();
    world.nats_kind = nats;
    world.targets = TARGETS.into();
    world.start().await;
    let mut client = world.open("cat").await;
    assert!(client.headers.get("sec-websocket-protocol").is_none());
    client.send(b"binary".to_vec()).await;
    assert_eq!(client.read(6).await, b"binary");
    client.send_text("text is bytes, too: ü").await;
    assert_eq!(client.read(22).await, "text is bytes, too: ü".as_bytes());
    client.close().await;
    world.agent().says("stream ended, target cat").await;
    world.metric_is("stream_relay_streams", 0.0).await;
    world.metric_is("stream_relay_streams_ended_total{end=\"peer_left\"}", 1.0).await;
}

#[tokio::test]
async fn bytes_go_both_ways_with_the_oldest_nats_server() {
    bytes_go_both_ways(NatsKind::Debian).await;
}

#[tokio::test]
async fn bytes_go_both_ways_with_a_new_nats_server() {
    bytes_go_both_ways(NatsKind::New).await;
}

#[tokio::test]
async fn the_api_tells_apart_why_something_cannot_be_had() {
    let world = World::with(TARGETS).await;
    let post = |body| world.api("POST", "/api/v1/sessions", body);
    let (status, answer) = post(json!({ "host": "h1", "target": "cat" })).await;
    assert_eq!(status, 201);
    assert!(answer["url"].as_str().unwrap().starts_with(&format!("{}/v1/stream/", world.relay_url())));
    assert!(answer["expires"].as_str().unwrap().ends_with('Z'));
    let cases = [
        (json!({ "host": "h2", "target": "cat" }), 404, "host_offline"),
        (json!({ "host": "h1", "target": "dog" }), 409, "target_not_allowed"),
        (json!({ "host": "h1", "target": "sh", "mode": "ro" }), 409, "mode_not_allowed"),
        (json!({ "host": "h1", "target": "cat", "params": { "a": "b" } }), 409, "params_not_allowed"),
        (json!({ "host": "a.b", "target": "cat" }), 400, "bad_request"),
        (json!({ "host": "h1", "target": "cat", "max_second": 5 }), 400, "bad_request"),
        (json!({ "host": "h1" }), 400, "bad_request"),
    ];
    for (body, status, code) in cases {
        let (got, answer) = post(body.clone()).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{body}: {answer}");
        assert!(answer["message"].as_str().unwrap().len() > 10);
    }
    assert_eq!(world.api("PUT", "/api/v1/sessions", json!({})).await.0, 405);
    assert_eq!(world.api("GET", "/api/v1/nothing", json!({})).await.1["code"], "not_found");
    let (status, list) = world.api("GET", "/api/v1/hosts/h1/targets", json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(
        list["targets"][1],
        json!({ "name": "nowhere", "kind": "tcp", "title": "Nothing", "modes": ["rw"] })
    );
    assert!(!list.to_string().contains("127.0.0.1"));
    // A host that is connected and silent differs from one that is not there.
    world.agent().signal(nix::sys::signal::Signal::SIGSTOP);
    let (status, answer) = post(json!({ "host": "h1", "target": "cat" })).await;
    world.agent().signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!((status, answer["code"].as_str()), (504, Some("host_not_answering")));
    std::fs::write(world.path("api.key"), "wrong").unwrap();
    assert_eq!(world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "cat" })).await.0, 401);
}

#[tokio::test]
async fn an_administrator_ends_a_session() {
    let world = World::with(TARGETS).await;
    let (_, session) = world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "cat" })).await;
    let mut client = Client::connect(session["url"].as_str().unwrap(), &[]).await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    let path = format!("/api/v1/sessions/{}", session["session"].as_str().unwrap());
    assert_eq!(world.api("DELETE", &path, json!({})).await.0, 200);
    assert_eq!(client.closed_with(4410).await, "ended by an administrator");
    let (status, answer) = world.api("DELETE", &path, json!({})).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("no_session")));
}

#[tokio::test]
async fn a_terminal_is_resized_and_says_how_it_ended() {
    let world = World::with(TARGETS).await;
    let mut client = Client::connect(&world.url("sh").await, &["stream.v1"]).await;
    assert_eq!(client.headers["sec-websocket-protocol"], "stream.v1");
    client.read_until("$ ").await;
    client.send_text(r#"{"type":"resize","cols":132,"rows":50}"#).await;
    client.send_text(r#"{"type":"of the future"}"#).await;
    client.send(b"stty size\n".to_vec()).await;
    client.read_until("50 132").await;
    client.send(b"exit 7\n".to_vec()).await;
    let exit = loop {
        match client.next().await {
            Message::Text(text) => break text,
            Message::Binary(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(exit.as_str(), r#"{"type":"exit","code":7}"#);
    assert_eq!(client.closed_with(1000).await, "target ended");
}

#[tokio::test]
async fn what_cannot_be_opened_is_said_to_the_client_without_addresses() {
    let world = World::with(TARGETS).await;
    let mut client = world.open("nowhere").await;
    assert_eq!(client.closed_with(4502).await, "host could not open the target");
    world.agent().says("connection refused on 127.0.0.1:1").await;
}

#[tokio::test]
async fn read_only_drops_what_the_client_sends() {
    let world = World::with(TARGETS).await;
    let (_, session) =
        world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "cat", "mode": "ro" })).await;
    let mut client = Client::connect(session["url"].as_str().unwrap(), &[]).await;
    client.send(b"never".to_vec()).await;
    // Its input is /dev/null, so cat ends at once without output.
    let (bytes, code, _) = client.rest().await;
    assert_eq!((bytes.len(), code), (0, 1000));
}
