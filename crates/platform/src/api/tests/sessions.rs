use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{KEYS, SESSIONS, accepted, open_request};
use crate::testing::{Reaction, Served};
use protocol::token::Token;

const TARGETS: &str = r#"{"v":1,"host":"h1","targets":[
    {"name":"vm","kind":"unix","modes":["rw"],"view":"spice"},
    {"name":"log","kind":"file","modes":["ro"]},
    {"name":"old-spice","kind":"tcp","modes":["rw"]}]}"#;

async fn served() -> Served {
    Served::with(KEYS, |subject, _| match subject.ends_with(".targets") {
        true => Reaction::Answer(TARGETS.replace('\n', "")),
        false => accepted(),
    })
    .await
}

async fn open(served: &Served, target: &str) -> (String, String) {
    let (status, answer) = served.ask("POST", SESSIONS, "secret", &open_request("h1", target)).await;
    assert_eq!(status, 201, "{answer}");
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (text("session"), text("url"))
}

/// Publishes an event of a session until the API shows that it was received.
async fn publish(
    served: &Served,
    kind: &str,
    session: &str,
    more: Value,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    let mut event = json!({ "v": 1, "at": "2026-11-29T20:00:00Z", "event": kind, "session": session, "host": "h1", "target": "log" });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let seen = async {
        loop {
            served.publish(&format!("stream.v1.host.h1.event.{kind}"), &event);
            let (_, shown) = served.ask("GET", &format!("{SESSIONS}/{session}"), "secret", "").await;
            if is_so(&shown) {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), seen).await.unwrap()
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["session"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_session_is_shown_from_its_start_to_its_end() {
    let served = served().await;
    let (id, _) = open(&served, "log").await;
    let (status, shown) = served.ask("GET", &format!("{SESSIONS}/{id}"), "secret", "").await;
    assert_eq!((status, &shown["state"], &shown["streams"]), (200, &json!("waiting"), &json!(0)));
    assert_eq!(
        (&shown["user"], &shown["key"], &shown["target"]),
        (&json!("me"), &json!("me"), &json!("log"))
    );
    let shown = publish(&served, "started", &id, json!({ "peer": "192.0.2.1", "mode": "ro" }), |session| {
        session["state"] == "open"
    });
    let shown = shown.await;
    assert_eq!((&shown["peer"], &shown["mode"]), (&json!("192.0.2.1"), &json!("ro")));
    let end = json!({ "bytes_in": 3, "bytes_out": 4, "code": 4502, "reason": "/etc/secret: 10.0.0.1" });
    let shown = publish(&served, "ended", &id, end, |session| session["state"] == "ended").await;
    assert_eq!((&shown["code"], &shown["reason"]), (&json!(4502), &json!("host could not open the target")));
    assert!(shown["bytes_out"].as_u64() >= Some(4) && !shown.to_string().contains("secret"), "{shown}");
    let (_, open) = served.ask("GET", SESSIONS, "secret", "").await;
    assert_eq!(ids(&open), [""; 0]);
    let (_, all) = served.ask("GET", &format!("{SESSIONS}?state=all"), "secret", "").await;
    assert_eq!(ids(&all), [id.as_str()]);
}

#[tokio::test]
async fn lists_have_pages_and_only_what_the_key_may_end() {
    let served = served().await;
    let mut opened = Vec::new();
    for target in ["log", "vm", "log"] {
        opened.push(open(&served, target).await.0);
    }
    publish(&served, "started", "FOREIGN", json!({ "user": "bob" }), |session| session["state"] == "open")
        .await;
    let (_, first) = served.ask("GET", &format!("{SESSIONS}?limit=2"), "secret", "").await;
    assert_eq!(ids(&first), ["FOREIGN", &opened[2]]);
    let path = format!("{SESSIONS}?limit=2&after={}", first["next"].as_str().unwrap());
    let (_, second) = served.ask("GET", &path, "secret", "").await;
    assert_eq!((ids(&second), &second["next"]), (vec![opened[1].as_str(), &opened[0]], &Value::Null));
    let (_, few) = served.ask("GET", SESSIONS, "other", "").await;
    assert_eq!(ids(&few), [&opened[2], &opened[0]]);
    for (path, key, status) in [
        (format!("{SESSIONS}/{}", opened[1]), "other", 404),
        (format!("{SESSIONS}/FOREIGN"), "other", 404),
        (format!("{SESSIONS}/{}", opened[0]), "other", 200),
        (format!("{SESSIONS}/none"), "secret", 404),
        (format!("{SESSIONS}?state=closed"), "secret", 400),
        (format!("{SESSIONS}?after=x"), "secret", 400),
        (format!("{SESSIONS}?limit=many"), "secret", 400),
    ] {
        assert_eq!(served.ask("GET", &path, key, "").await.0, status, "{path}");
    }
    // What only a host says of a session is no reason to end it for a key of one target.
    for (path, key, status) in
        [("FOREIGN", "other", 404), ("FOREIGN?host=h9", "secret", 200), ("FOREIGN", "secret", 200)]
    {
        assert_eq!(served.ask("DELETE", &format!("{SESSIONS}/{path}"), key, "").await.0, status, "{path}");
    }
}

#[tokio::test]
async fn a_viewers_file_is_for_who_opened_a_spice_screen_and_before_it_is_used() {
    let served = served().await;
    let file = async |id: &str, key: &str| {
        let lines = format!("Authorization: Bearer {key}\r\n");
        served.send("POST", &format!("{SESSIONS}/{id}/viewer"), &lines, "").await
    };
    for target in ["vm", "old-spice"] {
        let (id, url) = open(&served, target).await;
        let token: Token = url.rsplit('/').next().unwrap().parse().unwrap();
        let raw = served
            .raw(&format!(
                "POST {SESSIONS}/{id}/viewer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer secret\r\n\r\n"
            ))
            .await;
        for word in [
            " 200 ",
            "content-type: application/x-virt-viewer",
            "cache-control: no-store",
            "content-disposition: attachment; filename=\"screen.vv\"",
            &format!("\nhost={}\n", token.reveal_as_host()),
            "@relay.example:443\n",
        ] {
            assert!(raw.contains(word), "{word}: {raw}");
        }
    }
    let (log, _) = open(&served, "log").await;
    assert_eq!(file(&log, "secret").await.code(), (409, "no_viewer"));
    assert_eq!(file(&log, "other").await.code(), (403, "forbidden"), "it may see it, but has not opened it");
    assert_eq!(file("none", "secret").await.code(), (404, "unknown_session"));
    let (vm, _) = open(&served, "vm").await;
    publish(&served, "started", &vm, json!({}), |session| session["state"] == "open").await;
    assert_eq!(file(&vm, "secret").await.code(), (409, "no_viewer"));
}
