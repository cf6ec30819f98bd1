use std::sync::{Arc, Mutex};

use std::time::Duration;

use serde_json::{Value, json};

use super::super::body::MAX_BODY;
use super::super::routes::ALL;
use super::super::sessions::ENDED;
use super::{KEYS, SESSIONS, accepted, open_request};
use crate::testing::{RELAY, Reaction, Served};
use protocol::command::{self, Refusal};
use protocol::token::Token;
use service::metrics::Metrics;

fn refused(code: command::Code) -> Reaction {
    let answer = command::Answer::refused(Refusal::new(code, "because"));
    Reaction::Answer(serde_json::to_string(&answer).unwrap())
}

#[tokio::test]
async fn a_session_is_a_grant_for_the_host_and_a_token_for_the_client() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let note = received.clone();
    let served = Served::with(
        format!("max_seconds = 600\norigins = ['https://a.b']\n{KEYS}"),
        move |subject, payload| {
            note.lock().unwrap().push((subject.to_owned(), String::from_utf8(payload.to_vec()).unwrap()));
            accepted()
        },
    );
    let served = served.await;
    let body = r#"{"host":"h1","target":"vm","mode":"ro","params":{"a":"b"},"max_streams":8,"user":"alice"}"#;
    let (status, answer) = served.ask("POST", SESSIONS, "secret", body).await;
    assert_eq!(status, 201, "{answer}");
    let (subject, command) = received.lock().unwrap().pop().unwrap();
    assert_eq!(subject, "stream.v1.host.h1.start");
    let token = answer["url"].as_str().unwrap().strip_prefix(&format!("{RELAY}/v1/stream/")).unwrap();
    assert!(!command.contains(token), "the token must not be in the command");

    let grant = serde_json::from_str::<Value>(&command).unwrap()["grant"].as_str().unwrap().to_owned();
    let grant = served.folder.issuers().verify(&grant).unwrap();
    let claims = grant.claims();
    assert_eq!(claims.token_sha256, token.parse::<Token>().unwrap().hash());
    assert_eq!((claims.iss.as_str(), grant.host().as_str()), ("stream-relay", "h1"));
    assert_eq!((claims.target.as_str(), claims.relay.as_str()), ("vm", RELAY));
    assert_eq!((claims.exp - claims.iat, claims.max_seconds, claims.max_streams), (30, Some(600), Some(8)));
    assert_eq!((claims.user.as_deref(), &claims.params["a"][..]), (Some("alice"), "b"));
    assert_eq!((claims.origin[0].as_str(), &answer["session"]), ("https://a.b", &json!(claims.sid)));
    assert!(answer["expires"].as_str().unwrap().ends_with('Z'));

    // A limit of one's own beats the default, and the key's name stands in for a user.
    let body = r#"{"host":"h1","target":"vm","max_seconds":5}"#;
    served.ask("POST", SESSIONS, "secret", body).await;
    let (_, command) = received.lock().unwrap().pop().unwrap();
    let command: Value = serde_json::from_str(&command).unwrap();
    let grant = served.folder.issuers().verify(command["grant"].as_str().unwrap()).unwrap();
    assert_eq!((grant.claims().max_seconds, grant.claims().user.as_deref()), (Some(5), Some("me")));
}

#[tokio::test]
async fn every_trouble_has_its_own_code() {
    let served = Served::with(format!("answer_timeout = '1s'\n{KEYS}"), |subject, _| match subject {
        "stream.v1.host.silent.start" => Reaction::Silence,
        "stream.v1.host.strange.start" => Reaction::Answer("<html>".into()),
        "stream.v1.host.vague.start" => Reaction::Answer(r#"{"v":1,"ok":false}"#.into()),
        "stream.v1.host.busy.start" => refused(command::Code::Busy),
        "stream.v1.host.h1.start" => accepted(),
        _ => Reaction::Nobody,
    });
    let served = served.await;
    for (key, body, status, code) in [
        ("secret", open_request("gone", "t"), 404, "host_offline"),
        ("secret", open_request("silent", "t"), 504, "host_not_answering"),
        ("secret", open_request("strange", "t"), 502, "host_not_understood"),
        ("secret", open_request("vague", "t"), 502, "host_not_understood"),
        ("secret", open_request("busy", "t"), 409, "busy"),
        ("secret", open_request("a.b", "t"), 400, "bad_request"),
        ("secret", "{".into(), 400, "bad_request"),
        ("secret", r#"{"host":"h1","target":"t","max_second":5}"#.into(), 400, "bad_request"),
        ("secret", r#"{"host":"h1","target":"t","max_seconds":0}"#.into(), 400, "bad_request"),
        (
            "secret",
            format!(r#"{{"host":"h1","target":"t","params":{{"a":"{}"}}}}"#, "x".repeat(20_000)),
            400,
            "bad_request",
        ),
        ("secret", " ".repeat(MAX_BODY + 1), 413, "too_large"),
        ("wrong", open_request("h1", "t"), 401, "unauthorized"),
        ("other", open_request("h1", "shell"), 403, "forbidden"),
        ("other", open_request("h2", "log"), 403, "forbidden"),
        ("other", open_request("h1", "log"), 201, ""),
    ] {
        let (got, answer) = served.ask("POST", SESSIONS, key, &body).await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{answer}");
    }
    let (_, answer) = served.ask("POST", SESSIONS, "secret", r#"{"host":"h1","taget":"t"}"#).await;
    assert!(answer["message"].as_str().unwrap().contains("`taget`"), "{answer}");
    assert_eq!(served.ask("GET", "/api/v2", "secret", "").await.1["code"], "not_found");
    let answer = served.raw("PUT /api/v1/sessions HTTP/1.0\r\nAuthorization: bearer secret\r\n\r\n").await;
    assert!(answer.contains("405") && answer.contains("allow: GET, POST"), "{answer}");
    let answer = served.raw("POST /api/v1/sessions HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("401") && answer.contains("www-authenticate: Bearer"), "{answer}");

    let mut metrics = Metrics::new("test");
    served.platform.register(metrics.registry("stream_platform"));
    let text = metrics.render();
    for line in [
        r#"stream_platform_requests_total{action="open",code="busy"} 1"#,
        r#"stream_platform_requests_total{action="open",code="ok"} 1"#,
        r#"stream_platform_requests_total{action="open",code="unauthorized"} 2"#,
        "stream_platform_host_answer_seconds_count 6",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn each_route_has_the_methods_that_its_405_allows() {
    let served = Served::without_nats(KEYS, ([127, 0, 0, 1], 1).into()).await;
    for route in ALL {
        let path = route.path.replace("{session}", "AB").replace("{host}", "h1");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let request = format!("{method} {path} HTTP/1.0\r\nAuthorization: Bearer secret\r\n\r\n");
            let answer = served.raw(&request).await;
            let is_refused = answer.starts_with("HTTP/1.0 405 ");
            let allowed = route.methods.iter().any(|allowed| allowed.name == method);
            assert_eq!(is_refused, !allowed, "{method} {path}: {answer}");
            let allow = format!("\r\nallow: {}\r\n", route.allow());
            assert_eq!(answer.contains(&allow), is_refused, "{method} {path}: {answer}");
        }
    }
}

/// One key with these lines, and hosts that accept.
async fn served(lines: &str) -> Served {
    Served::with(format!("[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n{lines}\n"), |_, _| accepted())
        .await
}

fn open_request_for(user: &str) -> String {
    json!({ "host": "h1", "target": "t", "user": user }).to_string()
}

#[tokio::test]
async fn a_key_speaks_for_the_users_that_it_lists() {
    let served = served("users = ['alice']").await;
    for (user, status, code) in [
        ("me", 201, ""),
        ("alice", 201, ""),
        ("root@ceo", 403, "forbidden"),
        ("a\u{202e}b\u{200b}", 400, "bad_request"),
    ] {
        let (got, answer) = served.ask("POST", SESSIONS, "secret", &open_request_for(user)).await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{user}: {answer}");
    }
}

#[tokio::test]
async fn a_key_for_one_mode_asks_for_it_also_where_nobody_has() {
    let modes = Arc::new(Mutex::new(Vec::new()));
    let received = modes.clone();
    let text = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\nmodes = ['ro']\n";
    let served = Served::with(text, move |_, payload| {
        let command: Value = serde_json::from_slice(payload).unwrap();
        let claims = command["grant"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        received.lock().unwrap().push(claims);
        accepted()
    })
    .await;
    assert_eq!(served.ask("POST", SESSIONS, "secret", &open_request("h1", "t")).await.0, 201);
    let rw = r#"{"host":"h1","target":"t","mode":"rw"}"#;
    let (status, answer) = served.ask("POST", SESSIONS, "secret", rw).await;
    assert_eq!((status, &answer["code"]), (403, &json!("forbidden")));
    let modes = modes.lock().unwrap();
    assert_eq!(modes.len(), 1);
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&modes[0]).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&claims).unwrap()["mode"], "ro");
}

#[tokio::test]
async fn a_key_that_is_over_or_used_up_is_told_so() {
    let over = served("expires = 2020-01-01").await;
    let (status, answer) = over.ask("POST", SESSIONS, "secret", &open_request("h1", "t")).await;
    assert_eq!((status, &answer["code"]), (401, &json!("key_expired")));

    let slow = served("rate = 1").await;
    assert_eq!(slow.ask("POST", SESSIONS, "secret", &open_request("h1", "t")).await.0, 201);
    let answer =
        slow.raw("GET /api/v1/hosts/h1/targets HTTP/1.0\r\nAuthorization: Bearer secret\r\n\r\n").await;
    assert!(answer.contains(" 429 ") && answer.contains("too_many_requests"), "{answer}");
    let wait = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert!((1..=61).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    // An end is never held up.
    assert_eq!(slow.ask("DELETE", &format!("{SESSIONS}/X?host=h1"), "secret", "").await.0, 200);

    let few = served("max_open = 1").await;
    let open = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_open = open.clone();
    few.platform.looks_at(move |_| is_open.load(std::sync::atomic::Ordering::Relaxed));
    let ask = || few.ask("POST", SESSIONS, "secret", r#"{"host":"h1","target":"t"}"#);
    assert_eq!(ask().await.0, 201);
    let (status, answer) = ask().await;
    assert_eq!((status, &answer["code"]), (429, &json!("busy")));
    open.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(ask().await.0, 201);
}

#[tokio::test]
async fn without_nats_it_is_said_at_once() {
    let served = Served::without_nats(KEYS, ([127, 0, 0, 1], 1).into()).await;
    let (status, answer) = served.ask("POST", SESSIONS, "secret", &open_request("h1", "t")).await;
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")));
    assert!(served.platform.ready().unwrap_err().contains("NATS"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let served = Served::without_nats(KEYS, ([127, 0, 0, 1], 1).into()).await;
    let head = "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n";
    let answer = served.raw(&format!("{head}Connection: close\r\nContent-Length: 5\r\n\r\n{{")).await;
    assert!(answer.contains("408") && answer.contains("request_timeout"), "{answer}");
}

#[tokio::test]
async fn a_session_is_ended_by_whoever_may_open_the_same() {
    let served = Served::with(KEYS, |subject, payload| match subject.rsplit('.').next().unwrap() {
        "stop" if !String::from_utf8_lossy(payload).contains(ENDED) => Reaction::Nobody,
        "stop" if String::from_utf8_lossy(payload).contains("GONE") => refused(command::Code::NoSession),
        _ => accepted(),
    });
    let served = served.await;
    let mut sessions = Vec::new();
    for target in ["log", "shell"] {
        let (_, answer) = served.ask("POST", SESSIONS, "secret", &open_request("h1", target)).await;
        sessions.push(answer["session"].as_str().unwrap().to_owned());
    }
    for (key, path, status, code) in [
        ("other", sessions[1].clone(), 404, "unknown_session"),
        ("other", sessions[0].clone(), 200, ""),
        ("secret", sessions[1].clone(), 200, ""),
        ("secret", "ELSEWHERE".into(), 404, "unknown_session"),
        ("secret", "ELSEWHERE?host=h9".into(), 200, ""),
        ("other", "ELSEWHERE?host=h1".into(), 404, "unknown_session"),
        ("secret", "GONE?host=h1".into(), 409, "no_session"),
        ("secret", "X?host=a.b".into(), 400, "bad_request"),
        ("secret", "X?hots=h1".into(), 400, "bad_request"),
        ("secret", "a/b".into(), 404, "not_found"),
        ("secret", "a%2Fb".into(), 404, "unknown_session"),
        ("secret", String::new(), 404, "unknown_session"),
    ] {
        let (got, answer) = served.ask("DELETE", &format!("{SESSIONS}/{path}"), key, "").await;
        assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{path} {answer}");
    }
}

#[tokio::test]
async fn targets_are_shown_to_those_who_may_open_them() {
    let list = r#"{"v":1,"host":"h1","targets":[{"name":"log","kind":"file","modes":["ro"]},{"name":"shell","kind":"exec","modes":["rw"]}]}"#;
    let served = Served::with(KEYS, move |_, _| Reaction::Answer(list.into())).await;
    let (status, all) = served.ask("GET", "/api/v1/hosts/h1/targets", "secret", "").await;
    assert_eq!((status, all["targets"].as_array().unwrap().len()), (200, 2));
    let (_, some) = served.ask("GET", "/api/v1/hosts/h1/targets", "other", "").await;
    assert_eq!(some["targets"], json!([{ "name": "log", "kind": "file", "modes": ["ro"] }]));
    assert_eq!(served.ask("GET", "/api/v1/hosts/h2/targets", "other", "").await.0, 403);
    assert_eq!(served.ask("GET", "/api/v1/hosts/a.b/targets", "secret", "").await.0, 400);
}

#[tokio::test]
async fn a_reload_changes_keys_relay_and_patience_at_once() {
    let served = Served::with(KEYS, |subject, _| match subject.contains("silent") {
        true => Reaction::Silence,
        false => accepted(),
    });
    let served = served.await;
    let settings =
        served.folder.settings("answer_timeout = '1s'\n[[platform.api_key]]\nname = 'x'\nsha256 = 'OTHER'\n");
    let moved = served.platform.reload(settings.unwrap(), &["wss://new.example".into()], Duration::ZERO);
    assert!(!moved);
    assert_eq!(served.ask("POST", SESSIONS, "secret", &open_request("h1", "t")).await.0, 401);
    let (_, answer) = served.ask("POST", SESSIONS, "other", &open_request("h1", "t")).await;
    assert!(answer["url"].as_str().unwrap().starts_with("wss://new.example/v1/stream/"));
    assert_eq!(served.ask("POST", SESSIONS, "other", &open_request("silent", "t")).await.0, 504);
    let settings = served.folder.settings(&format!("subject_prefix = 'x'\n{KEYS}")).unwrap();
    assert!(
        served.platform.reload(settings, &[RELAY.into()], Duration::ZERO),
        "another prefix needs a restart"
    );
}

/// Every event of the audit, as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == service::audit::TARGET
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?} "));
            }
        }
        let mut text = Text(format!("{} ", event.metadata().level()));
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn every_request_is_one_line_of_the_audit_without_secrets() {
    let lines = Lines::default();
    // With a single dispatcher, tracing asks the thread that reaches an event first whether anybody
    // listens, and tests on other threads would answer no for us.
    let _second = tracing::Dispatch::new(Lines::default());
    let _guard = tracing::subscriber::set_default(lines.clone());
    let served = Served::with(KEYS, |_, _| accepted()).await;
    let body = r#"{"host":"h1","target":"vm","user":"alice"}"#;
    let (_, answer) = served.ask("POST", SESSIONS, "secret", body).await;
    served.ask("POST", SESSIONS, "guessed", body).await;
    served.ask("POST", SESSIONS, "other", body).await;
    let lines = lines.0.lock().unwrap();
    let token = answer["url"].as_str().unwrap().rsplit('/').next().unwrap();
    let fingerprint = token.parse::<Token>().unwrap().hash().fingerprint();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for words in [
        "event=\"asked\" action=\"open\" status=201 code=\"ok\" key=\"me\" peer=127.0.0.1",
        "host=\"h1\" target=\"vm\" user=\"alice\"",
        &format!("token=\"{fingerprint}\""),
    ] {
        assert!(lines[0].contains(words), "{words} is missing in {}", lines[0]);
    }
    assert!(lines[0].starts_with("INFO "), "{}", lines[0]);
    assert!(lines[1].starts_with("WARN") && lines[1].contains("code=\"unauthorized\""), "{}", lines[1]);
    assert!(lines[2].contains("code=\"forbidden\" key=\"logs\""), "{}", lines[2]);
    for secret in [token, "guessed", "secret", "other"] {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{secret} in {lines:?}");
    }
}
