//! A host in its own network namespace: no connection can come in, and the link can be cut.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::world::{World, started};

static NAMESPACES: AtomicU32 = AtomicU32::new(0);

/// A namespace and its link; dropping it removes both.
pub(crate) struct Namespace {
    pub name: String,
    link: String,
    /// This side's address, and the host's.
    pub near: String,
    pub far: String,
}

fn run(program: &str, words: &str) {
    let output = Command::new(program).args(words.split(' ')).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Namespace {
    pub(crate) fn new() -> Namespace {
        let number = NAMESPACES.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // Networks of four addresses in the range reserved for benchmarks (RFC 2544).
        let net = (pid % 4096 * 8 + number % 8) * 4;
        let address = |host: u32| {
            let bits = u32::from_be_bytes([198, 18, 0, 0]) + net + host;
            std::net::Ipv4Addr::from(bits).to_string()
        };
        let (near, far) = (address(1), address(2));
        let namespace = Namespace {
            name: format!("stream-{pid}-{number}"),
            link: format!("st{pid}-{number}"),
            near,
            far,
        };
        let Namespace { name, link, near, far } = &namespace;
        run("ip", &format!("netns add {name}"));
        run("ip", &format!("link add {link} type veth peer name up0 netns {name}"));
        run("ip", &format!("address add {near}/30 dev {link}"));
        run("ip", &format!("link set {link} up"));
        for words in [&format!("address add {far}/30 dev up0"), "link set up0 up", "link set lo up"] {
            run("ip", &format!("-n {name} {words}"));
        }
        // As strict as a host's packet filter can be: answers only.
        namespace.nft(
            "table inet filter { chain input { type filter hook input priority 0; policy drop;
             ct state established,related accept; }; }",
        );
        namespace
    }

    /// Adds rules to the namespace's packet filter.
    pub(crate) fn nft(&self, rules: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "nft", "-f", "-"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{rules}");
    }

    /// Drops every packet from now on, in both directions.
    pub(crate) fn cut(&self) {
        self.nft(
            "table inet cut { chain in { type filter hook input priority -300; policy drop; };
             chain out { type filter hook output priority -300; policy drop; }; }",
        );
    }

    pub(crate) fn fix(&self) {
        self.nft("delete table inet cut");
    }

    /// What listens in the namespace, over TCP and UDP.
    pub(crate) fn listeners(&self) -> String {
        let mut command = Command::new("ip");
        let output = command.args(["netns", "exec", &self.name, "ss", "-H", "-ltnup"]).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command that runs in the namespace.
    pub(crate) fn command(&self, program: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// A world with NATS and relay on this side, and the agent in the namespace.
    pub(crate) async fn world(&self, targets: &str) -> World {
        let mut world = World::new();
        world.ip = self.near.clone();
        world.targets = targets.into();
        world.agent_config = format!("[relay]\nallow = ['{}']\nallow_plaintext = true\n", world.relay_url());
        world.start_nats().await;
        world.start_relay().await;
        world.write_agent_config();
        let outside = world.agent_command();
        let mut command = self.command(crate::world::AGENT);
        command.args(outside.as_std().get_args());
        world.agent = Some(started(command, &world.dir, "agent").await);
        world.agent().says("NATS: connected").await;
        world
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // In this order: the link would outlive its namespace for a moment.
        let _ = Command::new("ip").args(["link", "delete", &self.link]).status();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}
