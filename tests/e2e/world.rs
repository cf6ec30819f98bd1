//! A platform, a relay, a host and NATS in one folder, and the verbs that tests are written with.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixDatagram};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// How long anything may take that should take a moment.
pub const SOON: Duration = Duration::from_secs(20);

pub const AGENT: &str = env!("CARGO_BIN_EXE_stream-agent");
pub const RELAY: &str = env!("CARGO_BIN_EXE_stream-relay");

/// Which nats-server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatsKind {
    /// Debian's, the oldest that is supported.
    Debian,
    /// A new one, from PyPI.
    New,
}

impl NatsKind {
    pub fn program(self) -> PathBuf {
        match self {
            NatsKind::Debian => "/usr/sbin/nats-server".into(),
            NatsKind::New => parts_cache().join("nats/nats-server"),
        }
    }
}

/// Where `tests/parts/install` puts what it downloads.
pub fn parts_cache() -> PathBuf {
    match std::env::var_os("STREAM_TEST_CACHE") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/parts"),
    }
}

/// A script of `tests/parts`.
#[allow(dead_code, reason = "used by tests/screens.rs")]
pub fn part(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts").join(name)
}

/// A started process; dropping it kills it. Its output is in a file of its own.
pub struct Process {
    pub child: Child,
    pub log: PathBuf,
}

impl Process {
    pub fn start(mut command: Command, log: PathBuf) -> Process {
        command.stdin(Stdio::null());
        Process::start_with_input(command, log)
    }

    /// Standard input is the command's own.
    fn start_with_input(mut command: Command, log: PathBuf) -> Process {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        command.stdout(out.try_clone().unwrap()).stderr(out).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Process { child, log }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("the process has ended").try_into().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end, and gives its exit status.
    pub async fn ended(&mut self) -> i32 {
        let status =
            timeout(SOON, self.child.wait()).await.unwrap_or_else(|_| panic!("still runs:\n{}", self.said()));
        status.unwrap().code().unwrap_or(-1)
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.pid()).into()
    }

    /// Open file descriptors.
    pub fn fds(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    pub fn threads(&self) -> usize {
        std::fs::read_dir(self.proc("task")).unwrap().count()
    }

    /// Resident memory, in KiB.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How often its threads have gone to sleep so far, which is as often as they were woken up.
    pub fn sleeps(&self) -> u64 {
        let threads = std::fs::read_dir(self.proc("task")).unwrap();
        let of = |thread: std::io::Result<std::fs::DirEntry>| -> u64 {
            let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.unwrap().trim().parse().unwrap()
        };
        threads.map(of).sum()
    }

    /// Bytes that it has read from files, sockets and all else (proc_pid_io(5)).
    pub fn bytes_read(&self) -> u64 {
        let io = std::fs::read_to_string(self.proc("io")).unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    /// Waits until it has said something.
    pub async fn says(&self, text: &str) {
        eventually(|| self.said().contains(text), || format!("no `{text}` in:\n{}", self.said())).await;
    }
}

/// Polls for an event, with a deadline.
pub async fn eventually(happened: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    within(SOON, happened, complaint).await;
}

/// Polls for an event that may take so long.
pub async fn within(long: Duration, mut happened: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    let deadline = Instant::now() + long;
    while !happened() {
        assert!(Instant::now() < deadline, "{}", complaint());
        sleep(Duration::from_millis(10)).await;
    }
}

/// Everything that one test needs.
pub struct World {
    pub dir: TempDir,
    /// A loopback address that no other test has.
    pub ip: String,
    /// The relay's admin address must be loopback also where `ip` is not.
    pub admin_ip: String,
    /// Port of the public URL: a proxy's, where there is one.
    pub public_port: u16,
    pub nats_kind: NatsKind,
    pub nats: Option<Process>,
    /// Where agent and platform find NATS, if it is not plainly at `ip`.
    pub nats_at: Option<String>,
    pub relay: Option<Process>,
    pub agent: Option<Process>,
    /// Every line of configuration besides the least.
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
    /// The programs, where they are others than today's.
    pub agent_program: PathBuf,
    pub relay_program: PathBuf,
    pub open_program: PathBuf,
}

/// Gives each `exec` target without `user` that of the test: root's agent refuses those without, and what most tests
/// are about is another thing.
pub fn with_users(tables: &str) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name;
    let mut text = String::new();
    for table in tables.split_inclusive('\n').collect::<Vec<_>>().chunk_by(|_, next| !next.starts_with('[')) {
        let is_named = table.iter().any(|line| line.starts_with("user"));
        for line in table {
            text.push_str(line);
            if !is_named && line.trim() == "kind = 'exec'" {
                text.push_str(&format!("user = '{user}'\n"));
            }
        }
    }
    text
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

pub fn own_address() -> String {
    // The process and a counter: two runs at the same time do not meet either.
    let number = WORLDS.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!("127.{}.{}.{}", 1 + pid / 256 % 250, pid % 256, 1 + number % 250)
}

impl World {
    /// Folders and keys; nothing runs yet.
    pub fn new() -> World {
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
    pub async fn with(targets: &str) -> World {
        let mut world = World::new();
        world.targets = targets.into();
        world.start().await;
        world
    }

    pub async fn start(&mut self) {
        self.start_nats().await;
        self.start_relay().await;
        self.start_agent().await;
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn secret(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Runs a program to its end, which must be a good one.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = std::process::Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {args:?}: {out}{err}");
        out.into_owned()
    }

    pub fn nats_url(&self) -> String {
        self.nats_at.clone().unwrap_or_else(|| format!("nats://{}:4222", self.ip))
    }

    pub fn relay_url(&self) -> String {
        format!("{}://{}:{}", if self.tls { "wss" } else { "ws" }, self.ip, self.public_port)
    }

    pub fn platform_url(&self) -> String {
        self.relay_url().replacen("ws", "http", 1)
    }

    pub async fn start_nats(&mut self) {
        let config = self.path("nats/nats.conf");
        std::fs::write(&config, &self.nats_config).unwrap();
        let mut command = Command::new(self.nats_kind.program());
        command.args(["-a", &self.ip, "-p", "4222", "-c"]).arg(config);
        self.nats = Some(Process::start(command, self.path("nats.log")));
        self.connects(4222).await;
    }

    /// A certificate of its own authority, for names such as `IP:127.0.0.1,DNS:nats.test`: NAME.crt and NAME.key.
    #[allow(dead_code, reason = "used by tests/reports")]
    pub fn certificate(&self, name: &str, names: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        let ec = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=test";
        let names = format!("subjectAltName={names}");
        let rest = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", &names, "-keyout"];
        let files = [key.to_str().unwrap(), "-out", cert.to_str().unwrap()];
        self.run("openssl", &[&ec.split(' ').collect::<Vec<_>>()[..], &rest, &files].concat());
        (cert, key)
    }

    /// Waits until somebody listens.
    pub async fn connects(&self, port: u16) {
        let deadline = Instant::now() + SOON;
        while TcpStream::connect((self.ip.as_str(), port)).await.is_err() {
            assert!(Instant::now() < deadline, "nobody listens at {}:{port}", self.ip);
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn write_relay_config(&self) {
        let dir = self.dir.path().display();
        let hash = std::fs::read_to_string(self.path("api.sha256")).unwrap();
        let (ip, admin, url, nats) = (&self.ip, &self.admin_ip, self.relay_url(), self.nats_url());
        let mut text = format!(
            "listen = ['{ip}:8080']\nadmin = '{admin}:8081'\npublic_urls = ['{url}']\n{}\n",
            self.relay_config.replace("DIR", &dir.to_string())
        );
        if !text.contains("[auth]") {
            // There is one clock, and a leeway is also how long a young relay takes no grants of other platforms.
            text.push_str(&format!("[auth]\nissuers_dir = '{dir}/relay/issuers.d'\nleeway = '0s'\n"));
        }
        if self.tls {
            text.push_str(&format!(
                "[tls]\ncert_file = '{dir}/relay/tls.crt'\nkey_file = '{dir}/relay/tls.key'\n"
            ));
        }
        if !text.contains("mode = 'opaque'") && !text.contains("# no platform") {
            text.push_str(&format!(
                "[platform]\nsigning_key_file = '{dir}/relay/k1.pem'\nnats.servers = ['{nats}']\n{}\n\
                 [[platform.api_key]]\nname = 'me'\nsha256 = '{hash}'\n{}",
                self.platform_config.replace("DIR", &dir.to_string()),
                self.key_config
            ));
        }
        std::fs::write(self.path("relay/config.toml"), text).unwrap();
    }

    pub async fn start_relay(&mut self) {
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

    /// Waits until the relay takes grants that its own platform has not signed: those of a second after its start.
    pub async fn takes_foreign_grants(&self) {
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let since = seconds(self.relay_since);
        within(SOON, || seconds(SystemTime::now()) > since, || "the clock stands".into()).await;
    }

    pub fn write_agent_config(&self) {
        let dir = self.dir.path().display().to_string();
        let extra = self.agent_config.replace("DIR", &dir);
        let mut text = String::from("host_id = 'h1'\n");
        if !extra.contains("[nats]") {
            text.push_str(&format!("[nats]\nservers = ['{}']\n", self.nats_url()));
        }
        if !extra.contains("[relay]") {
            text.push_str(&format!("[relay]\nallow = ['{}']\n", self.relay_url()));
            if self.tls {
                text.push_str(&format!("ca_file = '{dir}/relay/tls.crt'\n"));
            }
        }
        if !extra.contains("[auth]") {
            text.push_str(&format!("[auth]\nissuers_dir = '{dir}/agent/issuers.d'\n"));
        }
        text.push_str(&with_users(&extra));
        std::fs::write(self.path("agent/config.toml"), text).unwrap();
        std::fs::write(
            self.path("agent/targets.d/test.toml"),
            with_users(&self.targets.replace("DIR", &dir)),
        )
        .unwrap();
    }

    pub fn agent_command(&self) -> Command {
        let mut command = Command::new(&self.agent_program);
        command.arg("--config").arg(self.path("agent/config.toml")).arg("run");
        command
    }

    pub async fn start_agent(&mut self) {
        self.write_agent_config();
        self.agent = Some(started(self.agent_command(), &self.dir, "agent").await);
    }

    /// `stream-relay open` with the platform's address and key.
    pub fn open_command(&self, args: &[&str]) -> Command {
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
    pub async fn url(&self, target: &str) -> String {
        self.url_with(target, &[]).await
    }

    /// Asks for a target's URL, with parameters as `name=value`.
    pub async fn url_with(&self, target: &str, params: &[&str]) -> String {
        let params = params.iter().flat_map(|param| ["--param", param]);
        let args: Vec<&str> = ["h1", target].into_iter().chain(params).collect();
        let output = self.open_command(&args).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Opens a target as a foreign client does: no subprotocol.
    pub async fn open(&self, target: &str) -> Client {
        Client::connect(&self.url(target).await, &[]).await
    }

    /// The API as a program uses it: status and JSON.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
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
    pub async fn metric(&self, name: &str) -> f64 {
        let output = Command::new("curl")
            .args(["-s", &format!("http://{}:8081/metrics", self.admin_ip)])
            .output()
            .await;
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("0").parse().unwrap()
    }

    pub async fn metric_is(&self, name: &str, value: f64) {
        let deadline = Instant::now() + SOON;
        while self.metric(name).await != value {
            assert!(Instant::now() < deadline, "{name} is {}, not {value}", self.metric(name).await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn agent(&self) -> &Process {
        self.agent.as_ref().unwrap()
    }

    pub fn relay(&self) -> &Process {
        self.relay.as_ref().unwrap()
    }
}

/// Starts a daemon and waits for its READY=1, as systemd would.
pub async fn started(mut command: Command, dir: &TempDir, name: &str) -> Process {
    command.stdin(Stdio::null());
    started_with_input(command, dir, name).await
}

/// The same; standard input is the command's own.
pub async fn started_with_input(mut command: Command, dir: &TempDir, name: &str) -> Process {
    static SOCKETS: Mutex<u32> = Mutex::new(0);
    let number = {
        let mut sockets = SOCKETS.lock().unwrap();
        *sockets += 1;
        *sockets
    };
    let path = dir.path().join(format!("notify-{number}"));
    let socket = UnixDatagram::bind(&path).unwrap();
    command.env("NOTIFY_SOCKET", &path);
    let mut process = Process::start_with_input(command, dir.path().join(format!("{name}.log")));
    let ready = async {
        let mut message = [0; 4096];
        loop {
            let n = socket.recv(&mut message).await.unwrap();
            if String::from_utf8_lossy(&message[..n]).lines().any(|line| line == "READY=1") {
                return;
            }
        }
    };
    let ended = tokio::select! {
        ready = timeout(SOON, ready) => ready.err().map(|_| "is not ready".to_owned()),
        status = process.child.wait() => Some(format!("ended with {status:?}")),
    };
    if let Some(why) = ended {
        panic!("{name} {why}:\n{}", process.said());
    }
    // The socket lives on in a task, so that later messages do not fail.
    tokio::spawn(async move { while socket.recv(&mut [0; 4096]).await.is_ok() {} });
    process
}

/// A websocket client that is not ours.
pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub headers: hyper::HeaderMap,
}

impl Client {
    pub async fn connect(url: &str, protocols: &[&str]) -> Client {
        Client::connect_with(url, protocols, &[]).await
    }

    pub async fn connect_with(url: &str, protocols: &[&str], headers: &[(&'static str, &str)]) -> Client {
        let mut request = url.into_client_request().unwrap();
        if !protocols.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", protocols.join(", ").parse().unwrap());
        }
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let connected = timeout(SOON, tokio_tungstenite::connect_async(request)).await.unwrap();
        let (socket, response) = connected.unwrap_or_else(|error| panic!("{error}"));
        Client { socket, headers: response.headers().clone() }
    }

    pub async fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        self.socket.send(Message::binary(bytes.into())).await.unwrap();
    }

    pub async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message that is not a ping.
    pub async fn next(&mut self) -> Message {
        self.next_after("what was read").await
    }

    async fn next_after(&mut self, said: &str) -> Message {
        let deadline = Instant::now() + SOON;
        loop {
            let message = timeout_at(deadline, self.socket.next()).await;
            let message =
                message.unwrap_or_else(|_| panic!("nothing comes after {said:?}")).expect("the end").unwrap();
            if !message.is_ping() && !message.is_pong() {
                return message;
            }
        }
    }

    /// Reads bytes until there are so many.
    pub async fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < n {
            match self.next().await {
                Message::Binary(piece) => bytes.extend_from_slice(&piece),
                other => panic!("after {} of {n} bytes: {other:?}", bytes.len()),
            }
        }
        assert_eq!(bytes.len(), n);
        bytes
    }

    /// Reads bytes until they contain something.
    pub async fn read_until(&mut self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            match self.next_after(&said).await {
                Message::Binary(piece) => said.push_str(&String::from_utf8_lossy(&piece)),
                other => panic!("{other:?} after {said:?}, waiting for {text:?}"),
            }
        }
        said
    }

    /// Types until a shell answers: one that is just starting forgets what was typed before.
    pub async fn is_answered(&mut self) {
        for _ in 0..60 {
            self.send(b"echo =$((6*7))=\r".to_vec()).await;
            if timeout(Duration::from_secs(1), self.read_until("\n=42=")).await.is_ok() {
                return;
            }
        }
        panic!("the shell does not answer");
    }

    /// All bytes to the end, and the close code and reason.
    pub async fn rest(&mut self) -> (Vec<u8>, u16, String) {
        let mut bytes = Vec::new();
        loop {
            match self.next().await {
                Message::Binary(piece) => bytes.extend_from_slice(&piece),
                Message::Text(_) => {}
                Message::Close(Some(close)) => return (bytes, close.code.into(), close.reason.to_string()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Expects to be closed with this code, and finishes the handshake.
    pub async fn closed_with(&mut self, code: u16) -> String {
        let (_, got, reason) = self.rest().await;
        assert_eq!(got, code, "{reason}");
        // The server ends the connection after the close handshake.
        let ended = timeout(SOON, self.socket.next()).await.expect("the connection stays open");
        assert!(ended.is_none() || ended.is_some_and(|last| last.is_err()));
        reason
    }

    pub async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while let Ok(Some(Ok(_))) = timeout(SOON, self.socket.next()).await {}
    }
}
