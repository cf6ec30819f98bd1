//! What goes through a stream, and what is recorded of it.

use std::io::Write;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::agent::TestAgent;
use crate::client::TestClient;
use crate::relay::TestRelay;
use crate::soon;

/// A service that the test answers for, and the table that allows it, under the name `service`.
pub(crate) struct Service(TcpListener);

impl Service {
    pub(crate) async fn start() -> Service {
        Service(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn table(&self) -> String {
        format!("[target.service]\nkind = 'tcp'\naddress = '{}'\n", self.0.local_addr().unwrap())
    }

    pub(crate) async fn accept(&self) -> TcpStream {
        soon("a connection to the target", self.0.accept()).await.unwrap().0
    }
}

#[tokio::test]
async fn a_client_and_a_tcp_target_exchange_bytes_and_two_records_say_so() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    let mut client = agent.open_with(&relay, &token, &claims).await;
    let mut target = service.accept().await;
    client.send(b"question").await;
    let mut question = [0; 8];
    soon("the question", target.read_exact(&mut question)).await.unwrap();
    assert_eq!(&question, b"question");
    target.write_all(b"the answer").await.unwrap();
    client.expect_bytes(b"the answer").await;
    client.close().await;

    let common = json!({
        "v": 1, "session": claims.sid, "stream": 1, "host": "h1", "target": "service", "user": "alice",
        "peer": "127.0.0.1", "token": token.hash().fingerprint(), "mode": "rw",
    });
    let mut started = serde_json::to_value(agent.expect_record("started").await).unwrap();
    let mut ended = serde_json::to_value(agent.expect_record("ended").await).unwrap();
    // Only what differs with each run is taken out.
    assert!(ended["seconds"].take().is_number());
    for (record, event) in [(&mut started, "started"), (&mut ended, "ended")] {
        assert!(record["at"].take().is_string());
        assert_eq!(record["event"].take(), event);
    }
    let with = |more: serde_json::Value| {
        let mut all = common.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        serde_json::Value::Object(all)
    };
    assert_eq!(started, with(json!({ "at": null, "event": null })));
    let outcome = json!({
        "at": null, "event": null, "seconds": null, "bytes_in": 8, "bytes_out": 10, "end": "peer_left",
        "code": 1001, "reason": "the client left",
    });
    assert_eq!(ended, with(outcome));
    assert!(agent.has_no_record());
}

#[tokio::test]
async fn a_log_begins_with_its_last_lines_and_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
    let relay = TestRelay::start().await;
    let table = format!("[target.log]\nkind = 'file'\npath = '{}'\nlines = 2\n", path.display());
    let agent = TestAgent::start(&relay, &table);
    let mut client = agent.open(&relay, "log").await;
    client.expect_bytes(b"two\nthree\n").await;
    let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    log.write_all(b"four\n").unwrap();
    client.expect_bytes(b"four\n").await;
}

#[tokio::test]
async fn a_page_measures_the_round_trip_to_the_host() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    agent.accept(&relay, &claims).await;
    let mut client = TestClient::offering(&relay.client_url(&token), &["stream.v1"]).await;
    for id in [7, 8] {
        client.send_text(&json!({ "type": "ping", "id": id }).to_string()).await;
        assert_eq!(client.expect_text().await, json!({ "type": "pong", "id": id }));
    }
}

#[tokio::test]
async fn a_client_may_come_before_its_host() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let agent = TestAgent::start(&relay, &service.table());
    let (token, claims) = relay.claims("service");
    let mut client = TestClient::connect(&relay.client_url(&token)).await;
    agent.accept(&relay, &claims).await;
    service.accept().await.write_all(b"hello").await.unwrap();
    client.expect_bytes(b"hello").await;
}

#[tokio::test]
async fn a_target_that_is_closed_ends_its_stream_after_its_last_byte() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let mut agent = TestAgent::start(&relay, &service.table());
    let mut client = agent.open(&relay, "service").await;
    let mut target = service.accept().await;
    target.write_all(b"bye").await.unwrap();
    drop(target);
    client.expect_bytes(b"bye").await;
    client.expect_close(1000).await;
    agent.expect_record("started").await;
    assert_eq!(agent.expect_ended().await, (0, 3, 1000));
}

#[tokio::test]
async fn a_target_that_cannot_be_opened_is_named_to_the_owner_only() {
    let (relay, service) = (TestRelay::start().await, Service::start().await);
    let table = service.table();
    let address = service.0.local_addr().unwrap().to_string();
    drop(service);
    let mut agent = TestAgent::start(&relay, &table);
    let mut client = agent.open(&relay, "service").await;
    let reason = client.expect_close(4502).await;
    assert!(!reason.contains(&address), "{reason}");
    let record = agent.expect_record("refused").await;
    let closing = record.event.closing().unwrap();
    assert!(closing.reason.contains(&address), "{closing}");
    assert_eq!((record.context.stream, closing.end.code()), (Some(1), 4502));
}

#[tokio::test]
async fn what_a_client_writes_to_a_log_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    std::fs::write(&path, "one\n").unwrap();
    let relay = TestRelay::start().await;
    let agent =
        TestAgent::start(&relay, &format!("[target.log]\nkind = 'file'\npath = '{}'\n", path.display()));
    let mut client = agent.open(&relay, "log").await;
    client.send(b"forged\n").await;
    client.expect_bytes(b"one\n").await;
    client.close().await;
    assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
}
