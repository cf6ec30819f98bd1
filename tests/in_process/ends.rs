//! How open streams end, seen by the client and in the agent's records.

use std::time::Duration;

use protocol::command::Code;
use protocol::grant::Claims;

use crate::agent::TestAgent;
use crate::client::TestClient;
use crate::relay::TestRelay;
use crate::soon;
use crate::streams::Service;

#[tokio::test]
async fn a_session_ends_when_its_grant_says() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    let claims = Claims { max_seconds: Some(1), ..claims };
    let mut client = agent.open_with(&relay, &token, &claims).await;
    let _target = service.accept().await;
    client.expect_close(4410).await;
    agent.expect_record("started").await;
    assert_eq!(agent.expect_ended().await.2, 4410);
}

#[tokio::test]
async fn a_relay_that_restarts_says_so_to_both_sides() {
    let relay = TestRelay::with(|settings| settings.drain_timeout = Duration::ZERO).await;
    let service = Service::start().await;
    let mut agent = TestAgent::start(&relay, &service.table());
    let mut client = agent.open(&relay, "service").await;
    let _target = service.accept().await;
    agent.expect_record("started").await;
    let (_, ()) = tokio::join!(client.expect_close(1012), relay.stop());
    assert_eq!(agent.expect_ended().await.2, 1012);
}

#[tokio::test]
async fn a_host_that_vanishes_is_lost_and_has_not_left() {
    let relay = TestRelay::start().await;
    let (token, claims) = relay.claims("service");
    let mut host = TestClient::dial_as_host(&relay, &relay.sign(&claims)).await;
    let mut client = TestClient::connect(&relay.client_url(&token)).await;
    assert_eq!(host.expect_text().await["type"], "linked");
    host.send(b"last words").await;
    // Without a close frame.
    drop(host);
    client.expect_bytes(b"last words").await;
    client.expect_close(4503).await;
}

#[tokio::test]
async fn a_target_that_a_reload_removes_ends_its_streams_and_no_others() {
    let (relay, service, other) = (TestRelay::start().await, Service::start().await, Service::start().await);
    let other_table = other.table().replace("service", "other");
    let mut agent = TestAgent::start(&relay, &format!("{}{other_table}", service.table()));
    let mut client = agent.open(&relay, "service").await;
    let _target = service.accept().await;
    agent.expect_record("started").await;
    let kept = agent.open(&relay, "other").await;
    let _other_target = other.accept().await;
    agent.expect_record("started").await;
    agent.reload(&other_table);
    client.expect_close(4403).await;
    let record = agent.expect_record("ended").await;
    assert_eq!(record.context.target.as_deref(), Some("service"));
    let (_, claims) = relay.claims("service");
    agent.expect_refused(&relay.sign(&claims), Code::TargetNotAllowed).await;
    kept.close().await;
    let record = agent.expect_record("ended").await;
    assert_eq!(record.context.target.as_deref(), Some("other"));
}

#[tokio::test]
async fn an_agent_that_stops_takes_nothing_new_and_lets_open_streams_go_on() {
    let relay = TestRelay::with(|settings| settings.client_wait = Duration::ZERO).await;
    let service = Service::start().await;
    let mut agent = TestAgent::start(&relay, &service.table());
    let client = agent.open(&relay, "service").await;
    let _target = service.accept().await;
    agent.expect_record("started").await;
    let (token, parked) = relay.claims("service");
    agent.accept(&relay, &parked).await;
    agent.stopping.cancel();
    // The one that waits for its client is given up.
    let record = agent.expect_record("refused").await;
    assert_eq!(record.context.session, Some(parked.sid));
    TestClient::connect(&relay.client_url(&token)).await.expect_close(4404).await;
    let (_, claims) = relay.claims("service");
    agent.expect_refused(&relay.sign(&claims), Code::Stopping).await;
    assert!(agent.has_no_record(), "the open stream has ended");
    client.close().await;
    assert_eq!(agent.expect_ended().await.2, 1001);
    agent.tasks.close();
    soon("the end of all sessions", agent.tasks.wait()).await;
}
