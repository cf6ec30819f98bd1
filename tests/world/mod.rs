//! A platform, a relay, a host and NATS in one folder, and the verbs that tests are written with.

mod client;
mod config;
mod openers;
mod process;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

pub(crate) use self::client::Client;
#[allow(unused_imports, reason = "each of the test programs that include this uses some")]
pub(crate) use self::process::{Process, eventually, started, started_with_input, within};

/// The deadline for everything that should take a moment.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Where cargo puts the programs, which are in other packages.
macro_rules! program {
    ($name:literal) => {
        if cfg!(debug_assertions) {
            concat!(env!("CARGO_TARGET_TMPDIR"), "/../debug/", $name)
        } else {
            concat!(env!("CARGO_TARGET_TMPDIR"), "/../release/", $name)
        }
    };
}

pub(crate) const AGENT: &str = program!("stream-agent");
pub(crate) const RELAY: &str = program!("stream-relay");

/// Whether both programs are newer than their sources: `cargo test --test NAME` builds no programs, and a test of
/// old code proves nothing.
static BUILT: LazyLock<Result<(), String>> = LazyLock::new(|| {
    let changed = |path: &str| Path::new(path).metadata().and_then(|metadata| metadata.modified());
    for program in [AGENT, RELAY] {
        // In makefile format: the program, a colon, its sources.
        let sources = std::fs::read_to_string(format!("{program}.d")).unwrap_or_default();
        let (Some((_, sources)), Ok(built)) = (sources.split_once(": "), changed(program)) else {
            return Err(format!("{program} is not there: run `cargo build` first"));
        };
        let is_newer = |source: &&str| changed(source).is_ok_and(|changed| changed > built);
        if let Some(source) = sources.split_whitespace().find(is_newer) {
            return Err(format!("{program} is older than {source}: run `cargo build` first"));
        }
    }
    Ok(())
});

/// Which nats-server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatsKind {
    /// Debian's, the oldest that is supported.
    Debian,
    /// A new one, from PyPI.
    New,
}

impl NatsKind {
    pub(crate) fn program(self) -> PathBuf {
        match self {
            NatsKind::Debian => "/usr/sbin/nats-server".into(),
            NatsKind::New => parts_cache().join("nats/nats-server"),
        }
    }
}

/// The folder that `tests/parts/install` downloads to.
pub(crate) fn parts_cache() -> PathBuf {
    match std::env::var_os("STREAM_TEST_CACHE") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/parts"),
    }
}

/// A script of `tests/parts`.
#[allow(dead_code, reason = "used by tests/screens.rs")]
pub(crate) fn part(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts").join(name)
}

/// Everything that one test needs.
pub(crate) struct World {
    pub dir: TempDir,
    /// A loopback address that no other test has.
    pub ip: String,
    /// The relay's admin address must be loopback also where `ip` is not.
    pub admin_ip: String,
    /// Port of the public URL: a proxy's, where there is one.
    pub public_port: u16,
    pub nats_kind: NatsKind,
    pub nats: Option<Process>,
    /// The NATS URL of agent and platform, if it is not `ip`.
    pub nats_at: Option<String>,
    pub relay: Option<Process>,
    pub agent: Option<Process>,
    /// Whether the agent is split: it asks openers, which are processes of their own.
    pub split: bool,
    openers: Vec<Process>,
    /// Lines of configuration besides the minimum.
    pub nats_config: String,
    pub relay_config: String,
    pub agent_config: String,
    pub platform_config: String,
    /// Lines of the platform's one API key.
    pub key_config: String,
    pub targets: String,
    pub tls: bool,
    /// When the relay was ready.
    pub relay_since: SystemTime,
    /// The programs, if not those of this version.
    pub agent_program: PathBuf,
    pub relay_program: PathBuf,
    pub open_program: PathBuf,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn own_address() -> String {
    // The process and a counter, so that two runs at once do not clash either.
    let number = WORLDS.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!("127.{}.{}.{}", 1 + pid / 256 % 250, pid % 256, 1 + number % 250)
}

impl World {
    /// Folders and keys; nothing runs yet.
    pub(crate) fn new() -> World {
        if let Err(why) = &*BUILT {
            panic!("{why}");
        }
        let dir = tempfile::tempdir().unwrap();
        for folder in ["relay/issuers.d", "agent/issuers.d", "agent/targets.d", "agent/config.d", "nats"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let ip = own_address();
        let world = World {
            dir,
            admin_ip: ip.clone(),
            ip,
            public_port: 8080,
            nats_kind: NatsKind::Debian,
            nats: None,
            nats_at: None,
            relay: None,
            agent: None,
            split: crate::SPLIT,
            openers: vec![],
            nats_config: String::new(),
            relay_config: String::new(),
            agent_config: String::new(),
            platform_config: String::new(),
            key_config: "users = ['*']\n".into(),
            targets: String::new(),
            tls: false,
            relay_since: SystemTime::UNIX_EPOCH,
            agent_program: AGENT.into(),
            relay_program: RELAY.into(),
            open_program: RELAY.into(),
        };
        world
            .run(RELAY, &["keygen", "issuer", "--kid", "k1", "--out", world.path("relay").to_str().unwrap()]);
        for part in ["relay", "agent"] {
            let to = world.path(part).join("issuers.d/k1.pub");
            std::fs::copy(world.path("relay/k1.pub"), to).unwrap();
        }
        let key: Value = serde_json::from_str(&world.run(RELAY, &["--json", "keygen", "api-key"])).unwrap();
        world.secret("api.key", key["secret"].as_str().unwrap());
        world.secret("api.sha256", key["sha256"].as_str().unwrap());
        world
    }

    /// A world that runs, with these targets.
    pub(crate) async fn with(targets: &str) -> World {
        let mut world = World::new();
        world.targets = targets.into();
        world.start().await;
        world
    }

    pub(crate) async fn start(&mut self) {
        self.start_nats().await;
        self.start_relay().await;
        self.start_agent().await;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn secret(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Runs a program to its end, and fails unless it succeeds.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let output = std::process::Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {args:?}: {out}{err}");
        out.into_owned()
    }

    pub(crate) fn nats_url(&self) -> String {
        self.nats_at.clone().unwrap_or_else(|| format!("nats://{}:4222", self.ip))
    }

    pub(crate) fn relay_url(&self) -> String {
        format!("{}://{}:{}", if self.tls { "wss" } else { "ws" }, self.ip, self.public_port)
    }

    pub(crate) fn platform_url(&self) -> String {
        self.relay_url().replacen("ws", "http", 1)
    }

    pub(crate) async fn start_nats(&mut self) {
        let config = self.path("nats/nats.conf");
        std::fs::write(&config, &self.nats_config).unwrap();
        let mut command = Command::new(self.nats_kind.program());
        command.args(["-a", &self.ip, "-p", "4222", "-c"]).arg(config);
        self.nats = Some(Process::start(command, self.path("nats.log")));
        self.connects(4222).await;
    }

    /// A certificate of its own authority, for names such as `IP:127.0.0.1,DNS:nats.test`: NAME.crt and NAME.key.
    #[allow(dead_code, reason = "used by tests/reports")]
    pub(crate) fn certificate(&self, name: &str, names: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        let ec = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=test";
        let names = format!("subjectAltName={names}");
        let rest = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", &names, "-keyout"];
        let files = [key.to_str().unwrap(), "-out", cert.to_str().unwrap()];
        self.run("openssl", &[&ec.split(' ').collect::<Vec<_>>()[..], &rest, &files].concat());
        (cert, key)
    }

    /// Waits until the port accepts connections.
    pub(crate) async fn connects(&self, port: u16) {
        let deadline = Instant::now() + SOON;
        while TcpStream::connect((self.ip.as_str(), port)).await.is_err() {
            assert!(Instant::now() < deadline, "nobody listens at {}:{port}", self.ip);
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn start_relay(&mut self) {
        self.write_relay_config();
        let mut command = Command::new(&self.relay_program);
        command.arg("--config").arg(self.path("relay/config.toml")).arg("serve");
        let relay = started(command, &self.dir, "relay").await;
        self.relay = Some(relay);
        self.relay_since = SystemTime::now();
        if !self.relay_config.contains("# no platform") && !self.relay_config.contains("mode = 'opaque'") {
            self.relay.as_ref().unwrap().says("platform: NATS connected").await;
        }
    }

    /// Waits until the relay accepts grants of other platforms, which must be issued after the second of its start.
    pub(crate) async fn takes_foreign_grants(&self) {
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let since = seconds(self.relay_since);
        within(SOON, || seconds(SystemTime::now()) > since, || "the clock stands".into()).await;
    }

    pub(crate) fn agent_command(&self) -> Command {
        let mut command = Command::new(&self.agent_program);
        command.arg("--config").arg(self.path("agent/config.toml")).arg("run");
        if self.split {
            command.arg("--opener").arg(self.path("run/open"));
        }
        command
    }

    pub(crate) async fn start_agent(&mut self) {
        self.write_agent_config();
        if self.split {
            self.start_openers().await;
        }
        self.agent = Some(started(self.agent_command(), &self.dir, "agent").await);
    }

    /// `stream-relay open` with the platform's address and key.
    pub(crate) fn open_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.open_program);
        command.arg("open").args(args);
        command.env("STREAM_PLATFORM", self.platform_url()).env("STREAM_API_KEY_FILE", self.path("api.key"));
        if self.tls {
            command.env("STREAM_CA_FILE", self.path("relay/tls.crt"));
        }
        command.kill_on_drop(true);
        command
    }

    /// Asks the platform for a target's URL.
    pub(crate) async fn url(&self, target: &str) -> String {
        self.url_with(target, &[]).await
    }

    /// Asks for a target's URL, with parameters as `name=value`.
    pub(crate) async fn url_with(&self, target: &str, params: &[&str]) -> String {
        let params = params.iter().flat_map(|param| ["--param", param]);
        // Programs of 0.1.0 know no page, and no option for it.
        let ws = (self.open_program == Path::new(RELAY)).then_some("--ws");
        let args: Vec<&str> = ["h1", target].into_iter().chain(params).chain(ws).collect();
        let output = self.open_command(&args).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Opens a target as a third-party client does: without subprotocol.
    pub(crate) async fn open(&self, target: &str) -> Client {
        Client::connect(&self.url(target).await, &[]).await
    }

    /// Calls the API; returns the status and the JSON body.
    pub(crate) async fn api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let key = std::fs::read_to_string(self.path("api.key")).unwrap();
        let mut command = Command::new("curl");
        command.args(["-s", "-m", "20", "-w", "\n%{http_code}", "-X", method, "-d", &body.to_string()]);
        command
            .args(["-H", &format!("Authorization: Bearer {key}")])
            .arg(format!("{}{path}", self.platform_url()));
        let output = command.output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// One metric of the relay, as a number; labels included in the name.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let output = Command::new("curl")
            .args(["-s", &format!("http://{}:8081/metrics", self.admin_ip)])
            .output()
            .await;
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("0").parse().unwrap()
    }

    pub(crate) async fn metric_is(&self, name: &str, value: f64) {
        let deadline = Instant::now() + SOON;
        while self.metric(name).await != value {
            assert!(Instant::now() < deadline, "{name} is {}, not {value}", self.metric(name).await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn agent(&self) -> &Process {
        self.agent.as_ref().unwrap()
    }

    pub(crate) fn relay(&self) -> &Process {
        self.relay.as_ref().unwrap()
    }
}
