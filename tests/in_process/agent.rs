//! An agent that takes commands where NATS would bring them, and the records that it would publish.

use std::sync::Arc;

use agent::config::{self, Auth, Settings};
use agent::{Agent, Receipt};
use hyper::body::Bytes;
use opener::Opener;
use protocol::audit::{Event, Record};
use protocol::command::{Answer, Code, Refusal};
use protocol::grant::Claims;
use protocol::token::Token;
use serde_json::json;
use targets::Shared;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::SPLIT;
use crate::client::TestClient;
use crate::openers::Openers;
use crate::relay::TestRelay;
use crate::soon;

/// Host h1 with one relay.
pub(crate) struct TestAgent {
    pub(crate) agent: Arc<Agent>,
    pub(crate) stopping: CancellationToken,
    /// Sessions that have not ended.
    pub(crate) tasks: TaskTracker,
    records: mpsc::Receiver<Record>,
    dir: TempDir,
    opener: Opener,
    openers: Openers,
}

impl TestAgent {
    /// An agent with these tables of targets.
    pub(crate) fn start(relay: &TestRelay, targets: &str) -> TestAgent {
        TestAgent::with(relay, targets, |_| {})
    }

    /// An agent whose other settings differ from the default.
    pub(crate) fn with(relay: &TestRelay, targets: &str, change: impl FnOnce(&mut Settings)) -> TestAgent {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("issuers.d")).unwrap();
        std::fs::write(dir.path().join("issuers.d/k1.pub"), relay.issuer_pem()).unwrap();
        let text = format!(
            "host_id = 'h1'\nnats.servers = ['nats://127.0.0.1:4222']\nrelay.allow = ['{}']\n\
             auth.issuers_dir = '{}'\n",
            relay.url(),
            dir.path().join("issuers.d").display()
        );
        std::fs::write(dir.path().join("config.toml"), text).unwrap();
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut settings = settings(&dir, targets);
        change(&mut settings);
        let is_trusting = matches!(settings.auth, Auth::Opaque(_));
        let (opener, openers) = match SPLIT {
            true => Openers::start(dir.path(), is_trusting),
            false => (Opener::here(settings.targets.clone(), Shared::default()), Openers::default()),
        };
        let (agent, records) = Agent::new(settings, opener.clone(), stopping.clone(), tasks.clone()).unwrap();
        TestAgent { agent, stopping, tasks, records, dir, opener, openers }
    }

    /// Reads the configuration again, with other targets.
    pub(crate) fn reload(&self, targets: &str) {
        self.agent.reload(settings(&self.dir, targets)).unwrap();
        self.openers.reload();
    }

    /// What opens its targets.
    #[allow(dead_code, reason = "for tests of the split agent")]
    pub(crate) fn opener(&self) -> Opener {
        self.opener.clone()
    }

    pub(crate) async fn command(&self, grant: &str) -> Answer {
        let payload = json!({ "v": 1, "grant": grant }).to_string();
        self.command_of(payload).await
    }

    pub(crate) async fn command_of(&self, payload: impl Into<Bytes>) -> Answer {
        let receipt = Receipt { at: Instant::now(), is_awaited: true };
        soon("the agent's answer", self.agent.start(payload.into(), receipt)).await
    }

    /// Has the host park for a grant.
    pub(crate) async fn accept(&self, relay: &TestRelay, claims: &Claims) {
        assert_eq!(self.command(&relay.sign(claims)).await, Answer::accepted(&claims.sid));
    }

    /// A session of the target, and its client.
    pub(crate) async fn open(&self, relay: &TestRelay, target: &str) -> TestClient {
        let (token, claims) = relay.claims(target);
        self.open_with(relay, &token, &claims).await
    }

    pub(crate) async fn open_with(&self, relay: &TestRelay, token: &Token, claims: &Claims) -> TestClient {
        self.accept(relay, claims).await;
        TestClient::connect(&relay.client_url(token)).await
    }

    /// The command is refused with this code, and a record says so.
    pub(crate) async fn expect_refused(&mut self, grant: &str, code: Code) -> (Refusal, Record) {
        let answer = self.command(grant).await;
        let refusal = answer.refusal.unwrap_or_else(|| panic!("accepted, expected {}", code.label()));
        assert_eq!(refusal.code, code, "{refusal}");
        let record = self.expect_record("refused").await;
        let reason = &record.event.closing().unwrap().reason;
        assert!(reason.contains(code.label()), "{reason}");
        (refusal, record)
    }

    /// The next record, which must be of this kind.
    pub(crate) async fn expect_record(&mut self, event: &str) -> Record {
        let record = soon(event, self.records.recv()).await.expect("the agent is gone");
        assert_eq!(record.event.label(), event, "{record}");
        record
    }

    /// The record of a stream's end: bytes from the client, bytes to it, and the code.
    pub(crate) async fn expect_ended(&mut self) -> (u64, u64, u16) {
        match self.expect_record("ended").await.event {
            Event::Ended { outcome, .. } => (outcome.bytes_in, outcome.bytes_out, outcome.closing.end.code()),
            event => panic!("{event:?}"),
        }
    }

    pub(crate) fn has_no_record(&mut self) -> bool {
        self.records.try_recv().is_err()
    }
}

fn settings(dir: &TempDir, targets: &str) -> Settings {
    let folder = dir.path().join("targets.d");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("test.toml"), targets).unwrap();
    let (_, settings) = config::load(&dir.path().join("config.toml"), false).unwrap();
    settings
}
