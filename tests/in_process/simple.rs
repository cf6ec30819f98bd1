//! Simple mode: tokens without grants, and relay keys.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;

use agent::config::Auth;
use protocol::command::Code;
use protocol::token::{Token, TokenHash};
use serde_json::json;
use service::secret::Secret;
use tokio::io::AsyncWriteExt;

use crate::agent::TestAgent;
use crate::client::TestClient;
use crate::relay::TestRelay;
use crate::streams::Service;

const KEY: &str = "the relay key of host h1";

async fn relay() -> TestRelay {
    let hosts = HashMap::from([("h1".parse().unwrap(), TokenHash::from_secret(KEY.as_bytes()))]);
    TestRelay::with(|settings| settings.auth = relay::config::Auth::Opaque(hosts)).await
}

/// An agent with this relay key.
fn agent(relay: &TestRelay, targets: &str, key: &str) -> TestAgent {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, key).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let key = Secret::read(file.path().to_str().unwrap()).unwrap();
    TestAgent::with(relay, targets, |settings| settings.auth = Auth::Opaque(key))
}

fn command(relay: &TestRelay, token: &Token) -> String {
    json!({ "v": 1, "token": token.reveal(), "target": "service", "relay": relay.url(), "user": "alice" })
        .to_string()
}

#[tokio::test]
async fn a_token_without_a_grant_opens_its_target_once() {
    let (relay, service) = (relay().await, Service::start().await);
    let mut agent = agent(&relay, &service.table(), KEY);
    let token = Token::generate().unwrap();
    let session = Some(token.hash().session());
    assert_eq!(agent.command_of(command(&relay, &token)).await.session, session);
    let mut client = TestClient::connect(&relay.client_url(&token)).await;
    let mut target = service.accept().await;
    target.write_all(b"hello").await.unwrap();
    client.expect_bytes(b"hello").await;
    let context = agent.expect_record("started").await.context;
    assert_eq!((context.session, context.user.as_deref()), (session, Some("alice")));
    let refusal = agent.command_of(command(&relay, &token)).await.refusal.unwrap();
    assert_eq!(refusal.code, Code::GrantReplayed);
}

#[tokio::test]
async fn a_host_with_another_relay_key_is_refused_by_the_relay() {
    let (relay, service) = (relay().await, Service::start().await);
    let mut agent = agent(&relay, &service.table(), "the relay key of another host");
    let token = Token::generate().unwrap();
    let refusal = agent.command_of(command(&relay, &token)).await.refusal.unwrap();
    assert_eq!(refusal.code, Code::RelayRefused, "{refusal}");
    let record = agent.expect_record("refused").await;
    assert_eq!(record.context.session, Some(token.hash().session()));
}

#[tokio::test]
async fn a_grant_is_not_taken() {
    let relay = relay().await;
    let mut agent = agent(&relay, "", KEY);
    let (_, claims) = relay.claims("service");
    agent.expect_refused(&relay.sign(&claims), Code::WrongAuthMode).await;
}
