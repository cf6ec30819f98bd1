//! A relay on a port of its own, and the platform's key that it believes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use protocol::grant::{Claims, unix};
use protocol::signing::SigningKey;
use protocol::token::Token;
use relay::config::{Raw, Settings};
use relay::{Bound, Relay};
use service::config::Loaded;
use service::metrics::Metrics;
use service::passed::Passed;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::soon;

/// Stands for this run of the relay: a grant that names it is taken in the second in which the relay starts.
const RUN: &str = "run";

/// A relay that serves until it is dropped.
pub(crate) struct TestRelay {
    address: SocketAddr,
    key: SigningKey,
    relay: Arc<Relay>,
    serving: JoinHandle<()>,
    stopping: DropGuard,
    dir: TempDir,
}

impl TestRelay {
    pub(crate) async fn start() -> TestRelay {
        TestRelay::with(|_| {}).await
    }

    /// A relay whose settings differ from the default.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> TestRelay {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = SigningKey::generate("k1").unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut settings = settings(dir.path(), address, &key);
        change(&mut settings);
        let passed = Passed { name: "test".into(), socket: socket.into() };
        let bound = Bound::passed(vec![passed]).unwrap();
        let stopping = CancellationToken::new();
        let relay: Arc<Relay> =
            Relay::new(settings, Metrics::new("stream_relay"), None, RUN.into(), stopping.clone()).unwrap();
        let served = relay.clone();
        let serving = tokio::spawn(async move { served.serve(bound).await });
        TestRelay { address, key, relay, serving, stopping: stopping.drop_guard(), dir }
    }

    /// Takes over settings that differ from the default.
    #[allow(dead_code, reason = "for tests that are not repeated with a split agent")]
    pub(crate) fn reload(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = settings(self.dir.path(), self.address, &self.key);
        change(&mut settings);
        self.relay.reload(settings).unwrap();
    }

    #[allow(dead_code, reason = "for tests that are not repeated with a split agent")]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    pub(crate) fn client_url(&self, token: &Token) -> String {
        format!("{}/v1/stream/{}", self.url(), token.reveal())
    }

    /// The public half of the platform's key, as agents and relays keep it.
    pub(crate) fn issuer_pem(&self) -> String {
        keys::public_pem(&self.key)
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        self.key.sign(claims)
    }

    /// A token, and what a grant of it says: user alice may open the target of host h1.
    pub(crate) fn claims(&self, target: &str) -> (Token, Claims) {
        let token = Token::generate().unwrap();
        let now = unix(SystemTime::now());
        let claims = Claims {
            iss: "test".into(),
            aud: "host:h1".into(),
            sid: ulid::Ulid::generate().to_string(),
            iat: now,
            exp: now + 30,
            target: target.into(),
            params: Default::default(),
            mode: None,
            relay: self.url(),
            token_sha256: token.hash(),
            max_streams: None,
            max_seconds: None,
            origin: vec![],
            user: Some("alice".into()),
            cnf: None,
            relay_run: Some(RUN.into()),
        };
        (token, claims)
    }

    /// Stops, and returns once every peer has had its close frame.
    pub(crate) async fn stop(self) {
        drop(self.stopping);
        soon("the relay's end", self.serving).await.unwrap();
    }
}

fn settings(dir: &Path, address: SocketAddr, key: &SigningKey) -> Settings {
    std::fs::write(dir.join("k1.pub"), keys::public_pem(key)).unwrap();
    let text = format!("public_urls = ['ws://{address}']\nauth.issuers_dir = '{}'\n", dir.display());
    let file = dir.join("config.toml");
    std::fs::write(&file, text).unwrap();
    let loaded = Loaded::read(&file, &[], &[]).unwrap();
    loaded.parse::<Raw<()>>().unwrap().check(&loaded).unwrap()
}
