use serde_json::json;

use super::super::stream_event::HostEvent;
use super::order::MOST;
use super::*;
use crate::testing::Folder;

const WAIT: Duration = Duration::from_secs(60);

fn index() -> SessionIndex {
    SessionIndex::new(Arc::default())
}

fn key(lines: &str) -> ApiKey {
    let text = format!("[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n{lines}\n");
    Folder::new().settings(&text).unwrap().policy.keys()[0].clone()
}

fn waiting(target: &str) -> Session {
    Session::waiting("h1".parse().unwrap(), target.into(), "me", Token::generate().unwrap(), WAIT)
}

fn event(kind: &str, session: &str, host: &str, more: serde_json::Value) -> StreamEvent {
    let mut event = json!({
        "v": 1, "at": "2026-11-29T20:00:00Z", "event": kind, "session": session, "host": host, "target": "t",
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let subject = format!("p.host.{host}.event.{kind}");
    let Some(HostEvent::Stream(event)) = HostEvent::parse("p", &subject, event.to_string().as_bytes()) else {
        panic!("{event}")
    };
    *event
}

#[tokio::test]
async fn a_session_waits_opens_and_ends_with_its_last_stream() {
    let index = index();
    index.insert("A", waiting("t"));
    let phase = || index.find("A").unwrap().phase();
    assert!(phase() == Phase::Waiting && index.find("A").unwrap().unused_token().is_some());
    index.receive(event("started", "A", "h1", json!({ "stream": 1, "mode": "rw", "peer": "192.0.2.1" })));
    index.receive(event("started", "A", "h1", json!({ "stream": 2 })));
    assert!(phase() == Phase::Open && index.find("A").unwrap().unused_token().is_none());
    index.receive(event("refused", "A", "h1", json!({ "code": 4429 })));
    let ended = json!({ "bytes_in": 1, "bytes_out": 20, "code": 1000 });
    index.receive(event("ended", "A", "h1", ended.clone()));
    assert_eq!(phase(), Phase::Open);
    index.receive(event("ended", "A", "h1", ended));
    let session = index.find("A").unwrap();
    assert_eq!((session.phase(), session.streams, session.bytes), (Phase::Ended, 2, Some((2, 40))));
    assert_eq!((session.code, session.mode), (Some(1000), Some(Mode::Rw)));
    assert_eq!(session.peer, Some("192.0.2.1".parse().unwrap()));
}

#[tokio::test]
async fn a_host_says_nothing_of_another_hosts_sessions() {
    let index = index();
    index.insert("A", waiting("t"));
    index.receive(event("ended", "A", "h2", json!({ "code": 1000 })));
    assert_eq!(index.find("A").unwrap().phase(), Phase::Waiting);
}

#[tokio::test]
async fn a_key_sees_what_it_may_end() {
    let index = index();
    index.insert("OWN", waiting("log"));
    index.receive(event("started", "FOREIGN", "h1", json!({ "user": "a\u{202e}b" })));
    let foreign = index.find("FOREIGN").unwrap();
    assert_eq!(foreign.user.as_deref(), Some("a\\u{202e}b"));
    let seen = |key: &ApiKey| {
        let (list, _) = index.list(key, &SessionQuery { limit: 9, ..SessionQuery::default() });
        list.into_iter().map(|(id, _)| id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen(&key("")), "FOREIGN OWN");
    assert_eq!(seen(&key("targets = ['log', 't']")), "OWN");
    assert_eq!(seen(&key("hosts = ['h2']")), "");
}

#[tokio::test]
async fn a_list_has_pages_the_newest_first() {
    let (index, key) = (index(), key(""));
    for number in 0..5 {
        index.insert(&number.to_string(), waiting("t"));
    }
    index.receive(event("ended", "3", "h1", json!({ "code": 1000 })));
    let page = |only_live, after| {
        let (list, next) = index.list(&key, &SessionQuery { only_live, after, limit: 2 });
        (list.into_iter().map(|(id, _)| id).collect::<Vec<_>>().join(" "), next)
    };
    let (first, next) = page(false, None);
    assert_eq!(first, "4 3");
    // A new one does not move the rest.
    index.insert("5", waiting("t"));
    let (second, next) = page(false, next);
    assert_eq!(second, "2 1");
    assert_eq!(page(false, next), ("0".into(), None));
    let (second, next) = page(true, Some(index.find("4").unwrap().number));
    assert_eq!((second.as_str(), next), ("2 1", Some(index.find("1").unwrap().number)));
}

#[tokio::test(start_paused = true)]
async fn what_the_relay_knows_corrects_records_that_did_not_come() {
    let index = index();
    for id in ["UNUSED", "USED", "LOST"] {
        index.insert(id, waiting("t"));
    }
    index.receive(event("started", "LOST", "h1", json!({})));
    index.receive(event("started", "FOREIGN", "h1", json!({})));
    let used = index.find("USED").unwrap().own.unwrap().token;
    let phases = || {
        index.sweep(|token| *token == used);
        ["UNUSED", "USED", "LOST", "FOREIGN"].map(|id| index.find(id).unwrap().phase())
    };
    assert_eq!(phases(), [Phase::Waiting, Phase::Waiting, Phase::Open, Phase::Open]);
    tokio::time::advance(GRACE).await;
    assert_eq!(phases(), [Phase::Waiting, Phase::Waiting, Phase::Ended, Phase::Open]);
    tokio::time::advance(WAIT).await;
    assert_eq!(phases(), [Phase::Ended, Phase::Open, Phase::Ended, Phase::Open]);
    tokio::time::advance(SILENCE).await;
    assert_eq!(phases()[3], Phase::Ended);
}

#[tokio::test]
async fn only_the_latest_are_remembered_and_what_has_ended_goes_first() {
    let index = index();
    for session in 0..MOST {
        index.insert(&session.to_string(), waiting("t"));
    }
    index.receive(event("ended", "1", "h1", json!({ "code": 1000 })));
    index.insert("NEW", waiting("t"));
    assert!(index.find("0").is_some() && index.find("1").is_none());
    index.insert("NEWER", waiting("t"));
    assert!(index.find("0").is_none() && index.find("2").is_some());
    let state = index.lock();
    assert_eq!((state.order.len(), state.sessions.len()), (MOST, MOST));
}

#[tokio::test]
async fn a_host_that_tells_of_many_sessions_makes_nobody_elses_be_forgotten() {
    let index = index();
    index.insert("OWN", waiting("t"));
    index.receive(event("started", "OTHER", "h2", json!({})));
    for session in 0..=MOST {
        index.receive(event("started", &format!("FAKE{session}"), "h1", json!({})));
    }
    assert!(index.find("OWN").unwrap().unused_token().is_some());
    assert!(index.find("OTHER").is_some());
    assert!(index.find("FAKE0").is_none() && index.find(&format!("FAKE{MOST}")).is_some());
    let state = index.lock();
    assert_eq!((state.order.len(), state.sessions.len()), (MOST + 1, MOST + 1));
}
