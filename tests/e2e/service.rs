//! What the service manager receives from agent and relay, with a socket of the test in its place.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::{TcpStream, UnixDatagram};
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use crate::world::{Process, RELAY, SOON, World};

/// A service manager for one program.
struct Manager {
    path: PathBuf,
    lines: UnboundedReceiver<(Instant, String)>,
    /// Every received line and its time.
    received: Vec<(Instant, String)>,
}

impl Manager {
    fn new(world: &World, name: &str) -> Manager {
        let path = world.path(&format!("manager-{name}"));
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
        // Read at once, as systemd does: a sender that is not read waits.
        tokio::spawn(async move {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message).await {
                for line in String::from_utf8_lossy(&message[..length]).lines() {
                    let _ = sender.send((Instant::now(), line.to_owned()));
                }
            }
        });
        Manager { path, lines, received: Vec::new() }
    }

    /// Starts a program with this watchdog time.
    fn start(&self, mut command: Command, log: PathBuf, watchdog: Duration) -> Process {
        command.env("NOTIFY_SOCKET", &self.path);
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Process::start(command, log)
    }

    /// Waits for a line that contains this, and returns it.
    async fn receives(&mut self, text: &str) -> String {
        self.hears_within(SOON, text).await
    }

    async fn hears_within(&mut self, limit: Duration, text: &str) -> String {
        let deadline = Instant::now() + limit;
        loop {
            let next = timeout_at(deadline, self.lines.recv()).await;
            let (at, line) = next.unwrap_or_else(|_| panic!("no {text} in {:#?}", self.received)).unwrap();
            self.received.push((at, line.clone()));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The longest time between two watchdog messages.
    fn longest_silence(&self) -> Duration {
        let signs: Vec<Instant> =
            self.received.iter().filter(|(_, line)| line == "WATCHDOG=1").map(|(at, _)| *at).collect();
        signs.windows(2).map(|pair| pair[1] - pair[0]).max().expect("no two signs of life")
    }

    fn has_received(&self, text: &str) -> bool {
        self.received.iter().any(|(_, line)| line.contains(text))
    }
}

fn relay_command(world: &World) -> Command {
    let mut command = Command::new(RELAY);
    command.args(["--log-level", "debug", "--config"]).arg(world.path("relay/config.toml")).arg("serve");
    command
}

#[tokio::test]
async fn a_relay_whose_places_are_all_taken_lives() {
    let mut world = World::new();
    world.relay_config = "# no platform\n[limits]\nconnections = 1\nrequest_head = '60s'\n".into();
    world.write_relay_config();
    let mut manager = Manager::new(&world, "relay");
    let mut relay = manager.start(relay_command(&world), world.path("relay.log"), Duration::from_secs(4));
    manager.receives("READY=1").await;
    let idle = TcpStream::connect((world.ip.as_str(), 8080)).await.unwrap();
    world.metric_is("stream_relay_connections", 1.0).await;
    for _ in 0..3 {
        manager.receives("WATCHDOG=1").await;
    }
    assert_eq!(world.metric("stream_relay_connections").await, 1.0);
    assert!(!manager.has_received("unhealthy"), "{:?}", manager.received);
    assert!(!relay.said().contains("connection from"), "{}", relay.said());
    drop(idle);
    world.metric_is("stream_relay_connections", 0.0).await;
    relay.signal(Signal::SIGTERM);
    manager.receives("STOPPING=1").await;
    assert_eq!(relay.ended().await, 0);
}

#[tokio::test]
async fn a_nats_server_that_hangs_is_no_reason_to_restart() {
    let mut world = World::new();
    world.targets = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n".into();
    world.start_nats().await;
    world.write_relay_config();
    world.write_agent_config();
    let watchdog = Duration::from_secs(10);
    let (mut of_relay, mut of_agent) = (Manager::new(&world, "relay"), Manager::new(&world, "agent"));
    let relay = of_relay.start(relay_command(&world), world.path("relay.log"), watchdog);
    of_relay.receives("READY=1").await;
    let _agent = of_agent.start(world.agent_command(), world.path("agent.log"), watchdog);
    of_agent.receives("READY=1").await;
    relay.says("platform: NATS connected").await;
    let nats = world.nats.take().unwrap();
    nats.signal(Signal::SIGSTOP);
    // Three pings of 20 s go unanswered.
    let long = Duration::from_secs(90);
    of_agent.hears_within(long, "NATS disconnected").await;
    crate::world::within(long, || relay.said().contains("platform: NATS: disconnected"), || relay.said())
        .await;
    // They stay alive, also afterwards.
    let now = Instant::now();
    for manager in [&mut of_agent, &mut of_relay] {
        while manager.received.last().is_none_or(|(at, line)| *at < now || line != "WATCHDOG=1") {
            manager.receives("WATCHDOG=1").await;
        }
        assert!(!manager.has_received("unhealthy"), "{:?}", manager.received);
        assert!(manager.longest_silence() < watchdog, "{:?}", manager.received);
    }
    nats.signal(Signal::SIGCONT);
    of_agent.receives("STATUS=NATS connected").await;
}

#[tokio::test]
async fn an_agent_that_waits_for_nats_says_so_and_holds_up_a_boot_for_seconds_only() {
    let mut world = World::new();
    world.write_agent_config();
    let mut manager = Manager::new(&world, "agent");
    let agent = manager.start(world.agent_command(), world.path("agent.log"), Duration::from_secs(10));
    let server = format!("{}:4222", world.ip);
    let status = manager.receives("STATUS=").await;
    assert_eq!(
        status,
        format!(
            "STATUS=not ready: connecting to NATS at {server}; 0 streams; unsplit: this process opens the targets"
        )
    );
    manager.hears_within(Duration::from_secs(60), "READY=1").await;
    let said = manager
        .received
        .iter()
        .filter(|(_, line)| line.starts_with("STATUS="))
        .all(|(_, line)| line.starts_with("STATUS=not ready: "));
    assert!(said, "{:?}", manager.received);
    world.start_nats().await;
    manager.receives("STATUS=NATS connected").await;
    agent.signal(Signal::SIGTERM);
    manager.receives("STOPPING=1").await;
    // A drain may also take long.
    manager.receives("EXTEND_TIMEOUT_USEC=60000000").await;
}

#[tokio::test]
async fn certificates_of_the_system_are_wanted_only_where_they_are_needed() {
    let mut world = World::new();
    world.relay_config = "# no platform\n".into();
    world.start_nats().await;
    world.write_agent_config();
    let (nothing, empty) = (world.path("nothing.pem"), world.path("empty"));
    std::fs::write(&nothing, "").unwrap();
    std::fs::create_dir(&empty).unwrap();
    let bare = |world: &World| {
        let mut command = world.agent_command();
        command.env("SSL_CERT_FILE", &nothing).env("SSL_CERT_DIR", &empty);
        command
    };
    drop(crate::world::started(bare(&world), &world.dir, "plain").await);
    let (ip, nats) = (world.ip.clone(), world.nats_url());
    for (section, config) in [
        ("[relay]", format!("[nats]\nservers = ['{nats}']\n[relay]\nallow = ['wss://{ip}:8080']\n")),
        ("[nats]", format!("[nats]\nservers = ['tls://{ip}:4222']\n[relay]\nallow = ['ws://{ip}:8080']\n")),
    ] {
        world.agent_config = config;
        world.write_agent_config();
        let output = bare(&world).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(section) && said.contains("`apt install ca-certificates`"), "{said}");
    }
}
