//! Names with addresses that do not answer.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;

use crate::world::{AGENT, Process, RELAY, World, eventually, own_address};

/// A client that tries them in turn, for 5 s each, does not finish before the test's deadline.
const MOST_DEAD: usize = 5;

const NATS_PORT: u16 = 4222;
const WEBSOCKET_PORT: u16 = 4223;

/// An address whose listener's queue is full: packets to it vanish, as they do behind many firewalls.
struct Dead {
    ip: String,
    _held: Vec<(TcpListener, TcpStream)>,
}

impl Dead {
    async fn new() -> Dead {
        let ip = own_address();
        let mut held = Vec::new();
        for port in [NATS_PORT, WEBSOCKET_PORT] {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("{ip}:{port}").parse().unwrap()).unwrap();
            let listener = socket.listen(0).unwrap();
            held.push((listener, TcpStream::connect((ip.as_str(), port)).await.unwrap()));
        }
        Dead { ip, _held: held }
    }
}

/// A world whose programs resolve `nats.test` to all of these addresses.
struct Names {
    world: World,
    dead: Vec<Dead>,
}

impl Names {
    async fn with(dead: usize, certificate: &str) -> Names {
        let mut world = World::new();
        world.certificate("nats", certificate);
        world.agent_program = inside(&world, AGENT);
        world.relay_program = inside(&world, RELAY);
        world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n".into();
        let mut names = Names { world, dead: Vec::new() };
        names.now_with(dead).await;
        names
    }

    /// Puts this many dead addresses before the one that answers.
    async fn now_with(&mut self, dead: usize) {
        while self.dead.len() < dead {
            self.dead.push(Dead::new().await);
        }
        let ips = self.dead.iter().map(|dead| &dead.ip).chain([&self.world.ip]);
        let hosts: String = ips.map(|ip| format!("{ip} nats.test\n")).collect();
        // The same inode: the programs have it mounted.
        std::fs::write(self.world.path("hosts"), hosts).unwrap();
    }

    /// Starts the server again, and waits until the agent has subscribed for the nth time.
    async fn heard_again(&mut self, nth: usize) {
        self.world.nats.take().unwrap().kill().await;
        self.world.start_nats().await;
        let agent = self.world.agent();
        let received = || agent.said().matches("NATS: connected").count() >= nth;
        eventually(received, || agent.said()).await;
    }

    /// The steps of test-dial.
    async fn steps(&self) -> Vec<Value> {
        let mut command = Command::new(&self.world.agent_program);
        command.args(["--json", "--config"]).arg(self.world.path("agent/config.toml")).arg("test-dial");
        let output = command.output().await.unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["steps"].as_array().unwrap().clone()
    }
}

/// A script that runs a program with the world's names.
fn inside(world: &World, program: &str) -> PathBuf {
    let name = program.rsplit('/').next().unwrap();
    let path = world.path(name);
    let hosts = world.path("hosts").display().to_string();
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount --bind {hosts} /etc/hosts && exec {program} \"$@\"' sh \"$@\"\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn step<'a>(steps: &'a [Value], name: &str) -> &'a Value {
    steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("{steps:#?}"))
}

#[tokio::test]
async fn nats_is_reached_whatever_other_addresses_its_name_has() {
    // For a websocket the library tries only the first address of a name.
    for (scheme, port, dead) in [
        ("nats", NATS_PORT, MOST_DEAD),
        ("tls", NATS_PORT, MOST_DEAD),
        ("ws", WEBSOCKET_PORT, 1),
        ("wss", WEBSOCKET_PORT, 1),
    ] {
        let mut names = Names::with(dead, "DNS:nats.test").await;
        let world = &mut names.world;
        let (cert, key) = (world.path("nats.crt"), world.path("nats.key"));
        let files = format!("cert_file: '{}', key_file: '{}'", cert.display(), key.display());
        let websocket =
            |tls: &str| format!("websocket {{ host: '{}', port: {WEBSOCKET_PORT}, {tls} }}\n", world.ip);
        world.nats_config = match scheme {
            "tls" => format!("tls {{ {files} }}\n"),
            "ws" => websocket("no_tls: true"),
            "wss" => websocket(&format!("tls {{ {files} }}")),
            _ => String::new(),
        };
        let trust = match scheme {
            "tls" | "wss" => "ca_file = 'DIR/nats.crt'\n",
            _ => "allow_plaintext = true\n",
        };
        world.nats_at = Some(format!("{scheme}://nats.test:{port}"));
        world.agent_config = format!("[nats]\nservers = ['{scheme}://nats.test:{port}']\n{trust}");
        world.platform_config = format!("nats.{trust}");
        world.start_nats().await;
        world.start_relay().await;
        world.start_agent().await;
        world.agent().says("NATS: connected").await;
    }
}

#[tokio::test]
async fn addresses_that_a_name_gets_later_are_known_at_the_next_connection() {
    let mut names = Names::with(0, "DNS:nats.test").await;
    let world = &mut names.world;
    world.agent_config = "[nats]\nservers = ['nats://nats.test:4222']\nallow_plaintext = true\n".into();
    world.start_nats().await;
    world.start_agent().await;
    names.world.agent().says("NATS: connected").await;
    // The library does not know the other address yet, and waits for the dead one.
    names.now_with(1).await;
    names.heard_again(2).await;
    names.now_with(MOST_DEAD).await;
    names.heard_again(3).await;
}

#[tokio::test]
async fn an_address_that_answers_needs_the_certificate_of_the_name() {
    let mut names = Names::with(1, "DNS:other.test").await;
    let world = &mut names.world;
    let files = format!(
        "cert_file: '{}', key_file: '{}'",
        world.path("nats.crt").display(),
        world.path("nats.key").display()
    );
    world.nats_config = format!("tls {{ {files} }}\n");
    world.agent_config = "[nats]\nservers = ['tls://nats.test:4222']\nca_file = 'DIR/nats.crt'\n".into();
    world.start_nats().await;
    world.write_agent_config();
    let steps = names.steps().await;
    let (address, connect) = (step(&steps, "nats-tcp"), step(&steps, "nats-connect"));
    assert!(address["detail"].as_str().unwrap().contains("no answer within"), "{address}");
    assert!(address["remedy"].as_str().unwrap().contains("take the dead one out"), "{address}");
    assert_eq!(connect["verdict"], "FAIL");
    assert!(connect["detail"].as_str().unwrap().contains("not valid for name \"nats.test\""), "{connect}");
}

#[tokio::test]
async fn each_address_says_why_when_none_answers() {
    let mut names = Names::with(1, "DNS:nats.test").await;
    let world = &mut names.world;
    world.agent_config = "[nats]\nservers = ['nats://nats.test:4222']\nallow_plaintext = true\n".into();
    world.write_agent_config();
    let (good, agent) = (world.ip.clone(), Process::start(world.agent_command(), world.path("agent.log")));
    agent.says("no answer within 10 s").await;
    agent.says(&format!("connect to {good}:4222: Connection refused")).await;
}
