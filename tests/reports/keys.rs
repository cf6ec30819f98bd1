//! API keys: which targets each may open, how many at once, and for which users.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::world::{Client, RELAY, World, eventually};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n";
const SESSIONS: &str = "/api/v1/sessions";

/// A world whose key has these lines.
async fn world_with(lines: &str) -> World {
    let mut world = World::new();
    world.targets = CAT.into();
    world.key_config = lines.into();
    world.start().await;
    world
}

async fn open(world: &World, more: Value) -> (u16, Value) {
    let mut wish = json!({ "host": "h1", "target": "cat" });
    wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.api("POST", SESSIONS, wish).await
}

#[tokio::test]
async fn who_holds_a_new_key_cannot_call_himself_as_he_likes() {
    // The world's key is made by this version; nobody has copied its `users` line.
    let world = world_with("").await;
    for (user, status) in [("root@ceo", 403), ("a\u{202e}b\u{200b}", 400), ("me", 201)] {
        assert_eq!(open(&world, json!({ "user": user })).await.0, status, "{user}");
    }
    let (status, answer) = open(&world, json!({})).await;
    assert_eq!(status, 201, "{answer}");
    let mut client = Client::connect(answer["url"].as_str().unwrap(), &[]).await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    world.agent().says("user me").await;
    // The refusal is in the platform's audit log and nowhere else.
    let said = world.agent().said();
    assert!(!said.contains("ceo") && !said.contains("202e"), "{said}");
    // Its hash alone could come from an older version.
    world.relay().says("API key \"me\" has no `users`").await;
}

#[tokio::test]
async fn a_key_has_so_many_sessions_however_they_end() {
    let world = world_with("max_open = 2\n").await;
    let (_, first) = open(&world, json!({})).await;
    let (_, second) = open(&world, json!({})).await;
    // One is linked, the other's client has not come.
    let mut client = Client::connect(first["url"].as_str().unwrap(), &[]).await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    let (status, answer) = open(&world, json!({})).await;
    assert_eq!((status, answer["code"].as_str()), (429, Some("busy")), "{answer}");

    // Each session ends differently: by the platform, by its client, by the death of its host.
    let path = format!("{SESSIONS}/{}", second["session"].as_str().unwrap());
    assert_eq!(world.api("DELETE", &path, json!({})).await.0, 200);
    let third = opens(&world).await;
    client.close().await;
    opens(&world).await;
    let mut parked = Client::connect(third["url"].as_str().unwrap(), &[]).await;
    parked.send(b"x".to_vec()).await;
    parked.read(1).await;
    let mut world = world;
    world.agent.take().unwrap().kill().await;
    world.start_agent().await;
    opens(&world).await;
    opens(&world).await;
    assert_eq!(open(&world, json!({})).await.0, 429);
}

/// Opens a session as soon as the key's limit allows it.
async fn opens(world: &World) -> Value {
    for _ in 0..400 {
        let (status, answer) = open(world, json!({})).await;
        if status == 201 {
            return answer;
        }
        assert!(matches!(status, 404 | 429), "{status} {answer}");
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no session is over");
}

#[tokio::test]
async fn a_reload_changes_what_a_key_may_and_says_what_to_know() {
    let mut world = world_with("").await;
    assert_eq!(open(&world, json!({ "mode": "rw" })).await.0, 201);
    world.key_config = "users = ['alice']\nmodes = ['ro']\nrate = 3\n".into();
    world.write_relay_config();
    world.relay().signal(Signal::SIGHUP);
    world.relay().says("configuration reloaded").await;
    let (status, answer) = open(&world, json!({ "mode": "rw" })).await;
    assert_eq!((status, answer["code"].as_str()), (403, Some("forbidden")), "{answer}");
    assert_eq!(open(&world, json!({ "mode": "ro", "user": "alice" })).await.0, 409, "the target is rw only");
    assert_eq!(open(&world, json!({ "user": "bob" })).await.0, 403);
    let (status, answer) = open(&world, json!({ "user": "alice" })).await;
    assert_eq!((status, answer["code"].as_str()), (429, Some("too_many_requests")), "{answer}");

    world.key_config = "users = []\nexpires = 2020-01-01\n".into();
    world.write_relay_config();
    world.relay().signal(Signal::SIGHUP);
    let mut said = String::new();
    eventually(
        || {
            said = world.relay().said();
            said.contains("API key \"me\" expired at 2020-01-01T00:00:00Z")
        },
        || "nothing is said of a key that has expired".into(),
    )
    .await;
    eventually(|| world.relay().said().matches("configuration reloaded").count() == 2, || "no reload".into())
        .await;
    let (status, answer) = open(&world, json!({})).await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("key_expired")), "{answer}");
    let config = world.path("relay/config.toml");
    let said = world.run(RELAY, &["--json", "--config", config.to_str().unwrap(), "check-config"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["remarks"][0].as_str().unwrap().contains("expired"), "{said}");
}

#[test]
fn openssl_reads_a_generated_key_and_finds_the_same_public_key() {
    let world = World::new();
    let public =
        world.run("openssl", &["pkey", "-pubout", "-in", world.path("relay/k1.pem").to_str().unwrap()]);
    assert_eq!(public, std::fs::read_to_string(world.path("relay/k1.pub")).unwrap());
}
