//! What the platform's tests need: a folder with settings, a NATS server that plays the hosts, and
//! the API behind a real socket.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http1::server::connection;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use super::Platform;
use super::api::{Api, Peer};
use super::config::{Raw, Settings};
use super::watch::QUESTION;
use protocol::issuers::Issuers;
use protocol::signing::SigningKey;
use protocol::token::TokenHash;
use service::config::{ConfigError, Loaded};

pub(crate) const RELAY: &str = "wss://relay.example";

/// Where browsers reach it.
pub(crate) const OWN_ORIGIN: &str = "https://relay.example";
const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Settings, a signing key, and a directory for state.
pub(crate) struct Folder {
    dir: TempDir,
    nats: SocketAddr,
}

#[derive(Debug, Deserialize)]
struct Whole {
    platform: Raw,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder::with_nats(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    pub(crate) fn with_nats(nats: SocketAddr) -> Folder {
        let folder = Folder { dir: tempfile::tempdir().unwrap(), nats };
        let (key, der) = SigningKey::generate("k1").unwrap();
        fs::write(folder.path("k1.pem"), keys::private_pem(&der)).unwrap();
        fs::set_permissions(folder.path("k1.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.path("k1.pub"), keys::public_pem(&key)).unwrap();
        fs::create_dir(folder.path("state")).unwrap();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn issuers(&self) -> Issuers {
        keys::read_issuers(self.dir.path()).unwrap()
    }

    /// The section with these lines in it. HASH and OTHER stand for the hashes of `secret` and `other`, and STATE for
    /// the state directory.
    pub(crate) fn settings(&self, text: &str) -> Result<Settings, ConfigError> {
        let text = text.replace("HASH", &TokenHash::from_secret(b"secret").to_string());
        let text = text.replace("OTHER", &TokenHash::from_secret(b"other").to_string());
        let (key, nats) = (self.path("k1.pem"), self.nats);
        let start =
            format!("[platform]\nsigning_key_file = '{}'\nnats.servers = ['nats://{nats}']\n", key.display());
        // In a file of its own, so that the lines of the other are those of the test.
        let state = if text.contains("STATE") { self.path("state") } else { PathBuf::new() };
        fs::create_dir_all(self.path("config.d")).unwrap();
        let of_state = format!("[platform]\nstate_dir = '{}'\n", state.display());
        fs::write(self.path("config.d/state.toml"), if text.contains("state_dir") { "" } else { &of_state })
            .unwrap();
        fs::write(self.path("config.toml"), start + &text.replace("STATE", "")).unwrap();
        let loaded = Loaded::read(&self.path("config.toml"), &[self.path("config.d")], &[])?;
        loaded.parse::<Whole>()?.platform.check(&loaded)
    }
}

/// What a host does with a command.
pub(crate) enum Reaction {
    Answer(String),
    Nobody,
    /// It is there and says nothing.
    Silence,
}

/// As much of a NATS server as the platform needs.
#[derive(Clone)]
pub(crate) struct FakeNats {
    pub address: SocketAddr,
    published: broadcast::Sender<(String, String)>,
    /// Subjects that nobody may subscribe to, or publish to.
    forbidden: Arc<Mutex<Vec<String>>>,
}

impl FakeNats {
    /// `host` receives the subject and the payload of each request, except the question to all agents.
    pub(crate) async fn start(
        host: impl Fn(&str, &[u8]) -> Reaction + Send + Sync + 'static,
        agents: impl Fn() -> Reaction + Send + Sync + 'static,
    ) -> FakeNats {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (published, _) = broadcast::channel(1024);
        let nats = FakeNats { address, published, forbidden: Arc::default() };
        let react = Arc::new(move |subject: &str, payload: &[u8]| match subject == QUESTION {
            true => agents(),
            false => host(subject, payload),
        });
        let server = nats.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream, react.clone()));
            }
        });
        nats
    }

    /// Publishes a message, as a host does.
    pub(crate) fn publish(&self, subject: &str, payload: impl ToString) {
        let _ = self.published.send((subject.to_owned(), payload.to_string()));
    }

    /// From now on nobody may use the subject.
    pub(crate) fn forbid(&self, subject: &str) {
        self.forbidden.lock().unwrap().push(subject.to_owned());
    }

    fn is_forbidden(&self, subject: &str) -> bool {
        self.forbidden.lock().unwrap().iter().any(|forbidden| forbidden == subject)
    }

    async fn serve(
        self,
        stream: TcpStream,
        host: Arc<impl Fn(&str, &[u8]) -> Reaction>,
    ) -> std::io::Result<()> {
        const INFO: &str = r#"INFO {"server_id":"T","server_name":"t","version":"2.10.0","go":"","host":"","port":0,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read);
        write.write_all(format!("{INFO}\r\n").as_bytes()).await?;
        let mut subscriptions: HashMap<String, String> = HashMap::new();
        let mut published = self.published.subscribe();
        // What was read of a line when a message came in between.
        let mut line = Vec::new();
        loop {
            let message = tokio::select! {
                read = lines.read_until(b'\n', &mut line) => match read? {
                    0 => return Ok(()),
                    _ => None,
                },
                Ok(message) = published.recv() => Some(message),
            };
            if let Some((subject, payload)) = message {
                let fits = subscriptions.iter().filter(|(pattern, _)| matches(pattern, &subject));
                for (_, id) in fits {
                    let message = format!("MSG {subject} {id} {}\r\n{payload}\r\n", payload.len());
                    write.write_all(message.as_bytes()).await?;
                }
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
            let words: Vec<&str> = text.split_whitespace().collect();
            match words[..] {
                ["PING"] => write.write_all(b"PONG\r\n").await?,
                ["SUB", subject, _] if self.is_forbidden(subject) => {
                    let error = format!("-ERR 'Permissions Violation for Subscription to \"{subject}\"'\r\n");
                    write.write_all(error.as_bytes()).await?;
                }
                ["SUB", subject, id] => {
                    subscriptions.insert(subject.to_owned(), id.to_owned());
                }
                ["PUB" | "HPUB", subject, reply, .., size] => {
                    let mut payload = vec![0; size.parse::<usize>().unwrap() + 2];
                    lines.read_exact(&mut payload).await?;
                    if self.is_forbidden(subject) {
                        let error = format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'\r\n");
                        write.write_all(error.as_bytes()).await?;
                        continue;
                    }
                    let inbox = &subscriptions[reply];
                    let answer = match host(subject, &payload[..payload.len() - 2]) {
                        Reaction::Answer(text) => format!("MSG {reply} {inbox} {}\r\n{text}\r\n", text.len()),
                        Reaction::Nobody => format!("HMSG {reply} {inbox} 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"),
                        Reaction::Silence => continue,
                    };
                    write.write_all(answer.as_bytes()).await?;
                }
                _ => {}
            }
        }
    }
}

/// Whether a subject is one of a subscription.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    for word in pattern.split('.') {
        match (word, words.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (word, Some(found)) if word == found => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

/// A platform that answers HTTP.
pub(crate) struct Served {
    pub platform: Arc<Platform>,
    pub folder: Folder,
    address: SocketAddr,
    nats: Option<FakeNats>,
}

/// An answer to a browser.
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    /// `NAME=VALUE` of the cookie that it sets.
    pub(crate) fn cookie(&self) -> String {
        let line = self.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        line.split(';').next().unwrap().to_owned()
    }

    pub(crate) fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl Served {
    /// With these settings, and hosts that do this.
    pub(crate) async fn with(
        text: impl AsRef<str>,
        host: impl Fn(&str, &[u8]) -> Reaction + Send + Sync + 'static,
    ) -> Served {
        Served::with_agents(text, host, || Reaction::Nobody).await
    }

    /// The same with agents that answer the question to all.
    pub(crate) async fn with_agents(
        text: impl AsRef<str>,
        host: impl Fn(&str, &[u8]) -> Reaction + Send + Sync + 'static,
        agents: impl Fn() -> Reaction + Send + Sync + 'static,
    ) -> Served {
        Served::at(text.as_ref(), FakeNats::start(host, agents).await).await
    }

    /// The same with this NATS server.
    pub(crate) async fn at(text: &str, nats: FakeNats) -> Served {
        let served = Served { nats: Some(nats.clone()), ..Served::without_nats(text, nats.address).await };
        while served.platform.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        served
    }

    /// Publishes a message, as a host does.
    pub(crate) fn publish(&self, subject: &str, payload: impl ToString) {
        self.nats.as_ref().unwrap().publish(subject, payload);
    }

    pub(crate) async fn without_nats(text: &str, nats: SocketAddr) -> Served {
        let folder = Folder::with_nats(nats);
        let settings = folder.settings(text).unwrap();
        let platform =
            Platform::start(settings, &[RELAY.into()], Duration::from_secs(60), "run".into()).await.unwrap();
        let platform = Arc::new(platform);
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_http(listener, platform.clone()));
        Served { platform, folder, address, nats: None }
    }

    /// The whole answer to a request as it is written.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that has received enough may close before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.raw(&request).await;
        let Answer { status, body, .. } = parse(&answer);
        (status, body)
    }

    /// A request as the relay's own page sends it, with these further lines in its head.
    pub(crate) async fn browse(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let own = format!("Sec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\n{lines}");
        self.send(method, path, &own, body).await
    }

    /// A request with exactly these lines.
    pub(crate) async fn send(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: relay.example\r\nConnection: close\r\n{lines}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        parse(&self.raw(&request).await)
    }
}

fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or_default() }
}

async fn serve_http(listener: TcpListener, platform: Arc<Platform>) {
    let api = Arc::new(Api::new(platform));
    while let Ok((stream, _)) = listener.accept().await {
        let api = api.clone();
        tokio::spawn(connection::serve(stream, Duration::from_secs(60), move |request| {
            let api = api.clone();
            async move { api.respond(request, Peer { address: LOCAL.0.into(), may_be_proxy: true }).await }
        }));
    }
}
