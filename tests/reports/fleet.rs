//! Programs of the last packages (0.1.0) beside those of today, each way round: a fleet is upgraded host by host.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use protocol::token::Token;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::world::{Client, RELAY, SOON, World, parts_cache};

const TARGETS: &str = "\
[target.greeter]\nkind = 'exec'\nargv = ['/bin/sh', '-c', 'read name; echo hello $name; exit 7']\nuser = 'root'\n\
[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n\
[target.screen]\nkind = 'unix'\npath = 'DIR/agent/screen.sock'\nmax_streams = 8\n\
[target.nowhere]\nkind = 'unix'\npath = 'DIR/agent/nobody.sock'\n";

/// A program of the last packages; `tests/parts/old` builds them.
fn old(name: &str) -> PathBuf {
    let path = parts_cache().join("old/0.1.0").join(name);
    assert!(path.exists(), "{} is not there: run tests/parts/install", path.display());
    path
}

/// Which program is one of 0.1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Old {
    Agent,
    Relay,
    Open,
}

/// A world in which one program is old, with a socket that echoes for the target `screen`; it does not run yet.
fn world(which: Old) -> World {
    let mut world = World::new();
    world.targets = TARGETS.into();
    match which {
        Old::Agent => world.agent_program = old("stream-agent"),
        Old::Relay => world.relay_program = old("stream-relay"),
        Old::Open => world.open_program = old("stream-relay"),
    }
    if which == Old::Relay {
        world.key_config.clear();
    }
    let path = world.path("agent/screen.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    world
}

async fn running(which: Old) -> World {
    let mut world = world(which);
    world.start().await;
    world
}

/// `open --stdio` with this input: its output and exit status.
async fn stdio(world: &World, target: &str, input: &str) -> (String, String, i32) {
    let mut command = world.open_command(&["h1", target, "--stdio"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output =
        tokio::time::timeout(SOON, child.wait_with_output()).await.expect("it does not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap_or(-1))
}

/// A third-party client such as a SPICE viewer: several streams, recognised by the cookie.
async fn several_streams(world: &World) {
    let url = world.url("screen").await;
    let mut first = Client::connect(&url, &[]).await;
    let cookie = first.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    first.send(b"main".to_vec()).await;
    assert_eq!(first.read(4).await, b"main");
    let mut channels = Vec::new();
    for number in 2..=8 {
        let mut channel = Client::connect_with(&url, &[], &[("cookie", &cookie)]).await;
        let word = format!("channel {number}");
        channel.send(word.clone()).await;
        assert_eq!(channel.read(word.len()).await, word.as_bytes());
        channels.push(channel);
    }
    // All of them are open at once.
    first.send(b"still".to_vec()).await;
    assert_eq!(first.read(5).await, b"still");
}

/// The close codes of docs/protocol.md that both versions know.
async fn ends(world: &World) {
    let (status, answer) =
        world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "cat" })).await;
    assert_eq!(status, 201, "{answer}");
    let url = answer["url"].as_str().unwrap();
    let mut client = Client::connect(url, &[]).await;
    client.send(b"x".to_vec()).await;
    client.read(1).await;
    let path = format!("/api/v1/sessions/{}", answer["session"].as_str().unwrap());
    assert_eq!(world.api("DELETE", &path, Value::Null).await.0, 200);
    client.closed_with(4410).await;

    world.open("nowhere").await.closed_with(4502).await;
    let mut greeted = world.open("greeter").await;
    greeted.send(b"you\n".to_vec()).await;
    let (said, code, _) = greeted.rest().await;
    assert_eq!((String::from_utf8_lossy(&said).as_ref(), code), ("hello you\n", 1000));
}

async fn every_day(which: Old) {
    let world = running(which).await;
    assert_eq!(stdio(&world, "greeter", "world\n").await, ("hello world\n".into(), String::new(), 7));
    several_streams(&world).await;
    ends(&world).await;
    // The list of targets is understood.
    let (status, list) = world.api("GET", "/api/v1/hosts/h1/targets", Value::Null).await;
    assert_eq!((status, list["targets"].as_array().map(Vec::len)), (200, Some(4)), "{list}");
}

#[tokio::test]
async fn an_old_agent_serves_a_new_relay_and_platform() {
    every_day(Old::Agent).await;
}

#[tokio::test]
async fn a_new_agent_serves_an_old_relay_and_platform() {
    every_day(Old::Relay).await;
}

#[tokio::test]
async fn an_old_client_opens_targets_of_a_new_fleet() {
    every_day(Old::Open).await;
}

#[tokio::test]
async fn simple_mode_works_with_one_old_side() {
    for which in [Old::Agent, Old::Relay] {
        let mut world = world(which);
        let made: Value =
            serde_json::from_str(&world.run(RELAY, &["--json", "keygen", "relay-key", "--host", "h1"]))
                .unwrap();
        let key = world.secret("relay.key", made["secret"].as_str().unwrap());
        let sha256 = made["sha256"].as_str().unwrap();
        world.relay_config =
            format!("[auth]\nmode = 'opaque'\n[[auth.host_key]]\nhost = 'h1'\nsha256 = '{sha256}'\n");
        world.agent_config = format!(
            "[auth]\nmode = 'opaque'\n[relay]\nallow = ['{}']\nkey_file = '{}'\n",
            world.relay_url(),
            key.display()
        );
        world.start().await;
        let token = Token::generate().unwrap().reveal();
        let start = json!({ "v": 1, "token": token, "target": "cat", "relay": world.relay_url() });
        let nats = async_nats::connect(world.nats_url()).await.unwrap();
        let answer = nats.request("stream.v1.host.h1.start", start.to_string().into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["ok"], true, "{which:?}: {answer}");
        let mut client = Client::connect(&format!("{}/v1/stream/{token}", world.relay_url()), &[]).await;
        client.send(b"simple".to_vec()).await;
        assert_eq!(client.read(6).await, b"simple");
    }
}

/// Lost data does not look like success, whichever part is old: there is a message, and the exit code is not 0.
#[tokio::test]
async fn a_host_that_dies_is_no_success_for_any_client() {
    for which in [Old::Agent, Old::Relay, Old::Open] {
        let mut world = running(which).await;
        let mut command = world.open_command(&["h1", "cat", "--stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"x").await.unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).await.unwrap();
        world.agent.take().unwrap().kill().await;
        let output =
            tokio::time::timeout(SOON, child.wait_with_output()).await.expect("it does not end").unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.is_empty(), "{which:?}: {:?}: {said}", output.status);
    }
}

/// What one version cannot do with another is said in words.
#[tokio::test]
async fn what_cannot_work_with_an_old_part_is_said() {
    // An old relay does not know this version's settings, and names them with their lines.
    let world = world(Old::Relay);
    std::fs::write(
        world.path("relay/config.toml"),
        "public_urls = ['ws://127.0.0.1:1']\n[[platform.api_key]]\nname = 'me'\nusers = ['me']\n",
    )
    .unwrap();
    let mut command = tokio::process::Command::new(&world.relay_program);
    command.arg("--config").arg(world.path("relay/config.toml")).arg("check-config");
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("config.toml:4: unknown key `platform.api_key[0].users`"), "{said}");
    // An old agent refuses a mode that the target does not have.
    let mut world = self::world(Old::Agent);
    world.key_config = "modes = ['ro']\n".into();
    world.targets = "[target.rw]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\nmodes = ['rw']\n".into();
    world.start().await;
    let (status, answer) =
        world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "rw" })).await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("mode_not_allowed")), "{answer}");
}
