//! What the platform's tests need: a folder with settings, a NATS server that plays the hosts, and
//! the API behind a real socket.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http1::server::connection;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::Platform;
use super::api::Api;
use super::config::{Raw, Settings};
use protocol::issuers::Issuers;
use protocol::signing::SigningKey;
use protocol::token::TokenHash;
use service::config::{ConfigError, Loaded};

pub(crate) const RELAY: &str = "wss://relay.example";
const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Settings and a signing key.
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
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn issuers(&self) -> Issuers {
        keys::read_issuers(self.dir.path()).unwrap()
    }

    /// The section with these lines in it. HASH and OTHER stand for the hashes of `secret` and `other`.
    pub(crate) fn settings(&self, text: &str) -> Result<Settings, ConfigError> {
        let text = text.replace("HASH", &TokenHash::from_secret(b"secret").to_string());
        let text = text.replace("OTHER", &TokenHash::from_secret(b"other").to_string());
        let (key, nats) = (self.path("k1.pem"), self.nats);
        let start =
            format!("[platform]\nsigning_key_file = '{}'\nnats.servers = ['nats://{nats}']\n", key.display());
        fs::write(self.path("config.toml"), start + &text).unwrap();
        let loaded = Loaded::read(&self.path("config.toml"), &[], &[])?;
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

/// As much of a NATS server as a request needs; `host` receives subject and payload.
pub(crate) async fn nats(host: impl Fn(&str, &[u8]) -> Reaction + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = Arc::new(host);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_nats(stream, host.clone()));
        }
    });
    address
}

async fn serve_nats(stream: TcpStream, host: Arc<impl Fn(&str, &[u8]) -> Reaction>) -> std::io::Result<()> {
    const INFO: &str = r#"INFO {"server_id":"T","server_name":"t","version":"2.10.0","go":"","host":"","port":0,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    write.write_all(format!("{INFO}\r\n").as_bytes()).await?;
    let (mut line, mut inboxes) = (String::new(), HashMap::new());
    loop {
        line.clear();
        if read.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => write.write_all(b"PONG\r\n").await?,
            ["SUB", inbox, id] => {
                inboxes.insert(inbox.to_owned(), id.to_owned());
            }
            ["PUB" | "HPUB", subject, reply, .., size] => {
                let mut payload = vec![0; size.parse::<usize>().unwrap() + 2];
                read.read_exact(&mut payload).await?;
                let inbox = &inboxes[reply];
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

/// A platform that answers HTTP.
pub(crate) struct Served {
    pub platform: Arc<Platform>,
    pub folder: Folder,
    address: SocketAddr,
}

impl Served {
    /// With these settings, and hosts that do this.
    pub(crate) async fn with(
        text: impl AsRef<str>,
        host: impl Fn(&str, &[u8]) -> Reaction + Send + Sync + 'static,
    ) -> Served {
        let served = Served::without_nats(text.as_ref(), nats(host).await).await;
        while served.platform.ready().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        served
    }

    pub(crate) async fn without_nats(text: &str, nats: SocketAddr) -> Served {
        let folder = Folder::with_nats(nats);
        let settings = folder.settings(text).unwrap();
        let platform =
            Platform::start(settings, RELAY.into(), Duration::from_secs(60), "run".into()).await.unwrap();
        let platform = Arc::new(platform);
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_http(listener, platform.clone()));
        Served { platform, folder, address }
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
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }
}

async fn serve_http(listener: TcpListener, platform: Arc<Platform>) {
    let api = Arc::new(Api::new(platform));
    while let Ok((stream, _)) = listener.accept().await {
        let api = api.clone();
        tokio::spawn(connection::serve(stream, Duration::from_secs(60), move |request| {
            let api = api.clone();
            async move { api.respond(request, IpAddr::V4(Ipv4Addr::LOCALHOST)).await }
        }));
    }
}
