//! Who may use a session, how often, and how long a host waits.

use std::time::Duration;

use protocol::command::{Answer, Code};
use protocol::grant::Claims;
use protocol::headers::SESSION_SUBPROTOCOL;
use tokio::io::AsyncWriteExt;

use crate::agent::TestAgent;
use crate::client::TestClient;
use crate::relay::TestRelay;
use crate::streams::Service;

#[tokio::test]
async fn a_token_is_used_once_and_so_is_a_grant() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    let mut client = agent.open_with(&relay, &token, &claims).await;
    let target = service.accept().await;
    TestClient::connect(&relay.client_url(&token)).await.expect_close(4409).await;
    agent.expect_record("started").await;
    agent.expect_refused(&relay.sign(&claims), Code::GrantReplayed).await;
    drop(target);
    client.expect_close(1000).await;
    agent.expect_ended().await;
    // A new host cannot bring the session back either.
    agent.expect_refused(&relay.sign(&claims), Code::GrantReplayed).await;
}

#[tokio::test]
async fn a_session_has_as_many_streams_as_owner_and_grant_allow() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &format!("{}max_streams = 3\n", service.table()));
    let (token, claims) = relay.claims("service");
    let claims = Claims { max_streams: Some(2), ..claims };
    agent.accept(&relay, &claims).await;
    let mut first = TestClient::offering(&relay.client_url(&token), &["stream.v1"]).await;
    let key = first.expect_text().await["key"].as_str().unwrap().to_owned();
    let mut target = service.accept().await;
    // It shows nothing, and so may not share the session.
    TestClient::connect(&relay.client_url(&token)).await.expect_close(4409).await;
    let protocols = ["stream.v1", &format!("{SESSION_SUBPROTOCOL}{key}")];
    let mut second = TestClient::offering(&relay.client_url(&token), &protocols).await;
    let mut other_target = service.accept().await;
    other_target.write_all(b"second").await.unwrap();
    second.expect_bytes(b"second").await;
    target.write_all(b"first").await.unwrap();
    first.expect_bytes(b"first").await;
    let mut third = TestClient::offering(&relay.client_url(&token), &protocols).await;
    third.expect_close(4409).await;
    let (one, two) = (agent.expect_record("started").await, agent.expect_record("started").await);
    assert_eq!((one.context.stream, two.context.stream), (Some(1), Some(2)));
    assert_eq!(one.context.session, two.context.session);
}

#[tokio::test]
async fn a_target_that_is_taken_refuses_the_next_client() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &format!("{}max_streams = 1\n", service.table()));
    let _first = agent.open(&relay, "service").await;
    let _target = service.accept().await;
    agent.expect_record("started").await;
    let (_, claims) = relay.claims("service");
    agent.expect_refused(&relay.sign(&claims), Code::Busy).await;
}

#[tokio::test]
async fn a_stopped_session_ends_with_the_platforms_words() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    let mut client = agent.open_with(&relay, &token, &claims).await;
    let _target = service.accept().await;
    agent.expect_record("started").await;
    let stop = format!("{{\"session\":\"{}\",\"reason\":\"maintenance\"}}", claims.sid);
    assert_eq!(agent.agent.stop(stop.as_bytes()), Answer::accepted(&claims.sid));
    assert_eq!(client.expect_close(4410).await, "maintenance");
    assert_eq!(agent.expect_ended().await.2, 4410);
    let answer = agent.agent.stop(b"{\"session\":\"unknown\"}");
    assert_eq!(answer.refusal.unwrap().code, Code::NoSession);
}

#[tokio::test]
async fn a_host_stops_waiting_for_a_client_that_does_not_come() {
    let relay = TestRelay::with(|settings| settings.host_wait = Duration::ZERO).await;
    let mut agent = TestAgent::start(&relay, "[target.log]\nkind = 'file'\npath = '/var/log/syslog'\n");
    let (_, claims) = relay.claims("log");
    agent.accept(&relay, &claims).await;
    let record = agent.expect_record("refused").await;
    assert_eq!(record.context.session, Some(claims.sid));
    let closing = record.event.closing().unwrap();
    assert_eq!((closing.end.code(), record.context.stream), (4404, None));
    assert!(closing.reason.starts_with("no stream came about: "), "{closing}");
}
