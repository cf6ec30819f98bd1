use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{KEYS, accepted};
use crate::testing::{FakeNats, Reaction, Served};
use crate::watch::QUESTION;

const HOSTS: &str = "/api/v1/hosts";

fn alive(host: &str) -> Value {
    json!({
        "v": 1, "host": host, "instance": "I", "version": "0.2.0", "since": "2026-11-29T20:00:00Z", "every": 60,
    })
}

fn info(host: &str) -> String {
    json!({
        "type": "io.nats.micro.v1.info_response", "name": "stream-agent", "id": "OLD", "version": "0.1.0",
        "metadata": { "host": host },
        "endpoints": [{ "name": "start", "subject": format!("stream.v1.host.{host}.start") }],
    })
    .to_string()
}

/// Asks until it is so.
async fn until(served: &Served, path: &str, key: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let asked = async {
        loop {
            let (_, answer) = served.ask("GET", path, key, "").await;
            if is_so(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| panic!("{path} never shows it"))
}

fn names(answer: &Value) -> String {
    let hosts = answer["hosts"].as_array().unwrap().iter();
    hosts.map(|host| host["host"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn hosts_are_known_by_their_signs_of_life_and_by_keys() {
    let served = Served::with(KEYS, |_, _| accepted()).await;
    let (_, first) = served.ask("GET", HOSTS, "secret", "").await;
    assert_eq!(first, json!({ "hosts": [{ "host": "h1", "online": false }] }), "a key lists it");
    // A subscription may need a moment.
    let is_there = async {
        loop {
            served.publish("stream.v1.host.web1.alive", alive("web1"));
            served.publish("stream.v1.host.web2.alive", alive("liar"));
            served.publish("stream.v1.host.h1.alive", alive("h1"));
            if served.ask("GET", "/api/v1/hosts/h1", "secret", "").await.1["online"] == true {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), is_there).await.unwrap();
    let (_, web1) = served.ask("GET", "/api/v1/hosts/web1", "secret", "").await;
    let online =
        json!({ "host": "web1", "online": true, "version": "0.2.0", "since": "2026-11-29T20:00:00Z" });
    assert_eq!(web1, online);
    let (_, all) = served.ask("GET", HOSTS, "secret", "").await;
    assert_eq!(names(&all), "h1 web1");
    let (_, page) = served.ask("GET", &format!("{HOSTS}?limit=1"), "secret", "").await;
    assert_eq!((names(&page).as_str(), &page["next"]), ("h1", &json!("h1")));
    let (_, page) = served.ask("GET", &format!("{HOSTS}?limit=1&after=h1&q=WEB"), "secret", "").await;
    assert_eq!((names(&page).as_str(), &page["next"]), ("web1", &Value::Null));
    assert_eq!(names(&served.ask("GET", HOSTS, "other", "").await.1), "h1");
    for (path, key, status, code) in [
        ("/api/v1/hosts/web1", "other", 403, "forbidden"),
        ("/api/v1/hosts/web3", "secret", 404, "unknown_host"),
        ("/api/v1/hosts/a.b", "secret", 400, "bad_request"),
        ("/api/v1/hosts?limit=0", "secret", 400, "bad_request"),
        ("/api/v1/hosts?limit=501", "secret", 400, "bad_request"),
        ("/api/v1/hosts?limit=%2B1", "secret", 400, "bad_request"),
        ("/api/v1/hosts?limit=", "secret", 400, "bad_request"),
        ("/api/v1/hosts?limit=1&limit=2", "secret", 400, "bad_request"),
        ("/api/v1/hosts?after=a.b", "secret", 400, "bad_request"),
        ("/api/v1/hosts?page=2", "secret", 400, "bad_request"),
    ] {
        let (got, answer) = served.ask("GET", path, key, "").await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{path} {answer}");
    }
    served.publish("stream.v1.host.web1.gone", json!({ "v": 1, "host": "web1", "instance": "I" }));
    until(&served, "/api/v1/hosts/web1", "secret", |host| host["online"] == false).await;
}

#[tokio::test]
async fn agents_before_this_version_are_asked() {
    let served = Served::with_agents(KEYS, |_, _| accepted(), || Reaction::Answer(info("old1"))).await;
    let old = until(&served, "/api/v1/hosts/old1", "secret", |host| host["online"] == true).await;
    assert_eq!(old["version"], "0.1.0");
}

#[tokio::test]
async fn what_nats_does_not_permit_is_told_and_the_rest_works() {
    let nats = FakeNats::start(|_, _| accepted(), || Reaction::Answer(info("old1"))).await;
    nats.forbid("stream.v1.host.*.event.>");
    let served = Served::at(KEYS, nats).await;
    let list =
        until(&served, HOSTS, "secret", |list| names(list) == "h1 old1" && list["presence"] == "unknown");
    let list = list.await;
    assert!(list["message"].as_str().unwrap().contains("subscribe to stream.v1.host.*.event.>"), "{list}");
    assert_eq!(served.ask("GET", "/api/v1/hosts/h1/targets", "secret", "").await.0, 502, "hosts are asked");

    let nats = FakeNats::start(|_, _| accepted(), || Reaction::Nobody).await;
    nats.forbid(QUESTION);
    let served = Served::at(KEYS, nats).await;
    let list = until(&served, HOSTS, "secret", |list| list["presence"] == "unknown").await;
    assert!(list["message"].as_str().unwrap().contains(QUESTION), "{list}");

    let served = Served::without_nats(KEYS, ([127, 0, 0, 1], 1).into()).await;
    let (status, list) = served.ask("GET", HOSTS, "secret", "").await;
    assert_eq!((status, &list["presence"]), (200, &json!("unknown")));
}

#[tokio::test]
async fn a_change_wakes_who_waits_for_it() {
    let served = Served::with(KEYS, |_, _| accepted()).await;
    let (status, first) = served.ask("GET", "/api/v1/live", "secret", "").await;
    assert_eq!((status, &first["changed"]), (200, &json!(["hosts", "sessions"])));
    let path = format!("/api/v1/live?after={}", first["at"]);
    let open = super::open_request("h1", "t");
    let (woken, opened) = tokio::join!(
        served.ask("GET", &path, "secret", ""),
        served.ask("POST", super::SESSIONS, "secret", &open),
    );
    assert_eq!((woken.0, opened.0), (200, 201));
    assert_eq!(woken.1["changed"], json!(["sessions"]));
    assert!(woken.1["at"].as_u64() > first["at"].as_u64());
    for bad in ["after=x", "after=-1", "after=9007199254740992", "after=99999999999999999999", "before=1"] {
        assert_eq!(served.ask("GET", &format!("/api/v1/live?{bad}"), "secret", "").await.0, 400, "{bad}");
    }
}
