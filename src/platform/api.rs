//! The platform over HTTP: `/api/v1/`. JSON in, JSON out; every error has a code and a message.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use humantime_serde::re::humantime::format_rfc3339_seconds;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::deed::Deed;
use super::policy::ApiKey;
use super::usage::Exceeded;
use super::wish::Wish;
use super::{Denied, Platform};
use crate::protocol::close::MAX_REASON;
use crate::protocol::host::HostId;
use crate::protocol::plain::plain;

/// The largest body of a request that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// How long the body of a request may take.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// The longest id of a session, in characters: a ULID has 26.
const MAX_SESSION: usize = 64;

/// What the clients of an ended session are told.
const ENDED: &str = "ended by an administrator";

const SESSIONS: &str = "/api/v1/sessions";
const HOSTS: &str = "/api/v1/hosts/";

type Answer = Response<Full<Bytes>>;

impl Platform {
    /// Answers one request of `peer`: the handler of everything below `/api/`.
    pub async fn handle(&self, request: Request<Incoming>, peer: IpAddr) -> Answer {
        let mut deed = Deed::default();
        match route(self, request, &mut deed).await {
            Ok((status, body)) => {
                deed.tell(peer, status, "ok", &self.counts);
                reply(status, &body)
            }
            Err(error) => {
                deed.tell(peer, error.status, error.code, &self.counts);
                error.into_answer()
            }
        }
    }
}

struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    allow: Option<&'static str>,
    retry_after: Option<Duration>,
}

impl Error {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Error {
        Error { status, code, message: message.into(), allow: None, retry_after: None }
    }

    fn into_answer(self) -> Answer {
        let mut answer = reply(self.status, &json!({ "code": self.code, "message": self.message }));
        if let Some(allow) = self.allow {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(wait) = self.retry_after {
            // A whole second more rather than a try too early.
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// The table of `docs/platform.md`.
impl From<Denied> for Error {
    fn from(denied: Denied) -> Error {
        let (status, code, message) = match denied {
            Denied::Forbidden(why) => (StatusCode::FORBIDDEN, "forbidden", why.into()),
            Denied::Exceeded(exceeded) => return exceeded.into(),
            Denied::UnknownSession => (
                StatusCode::NOT_FOUND,
                "unknown_session",
                "no such session was opened here lately: name its host with ?host=ID".into(),
            ),
            Denied::BadWish(why) => return bad(why),
            // Not 503: the request is well served, and the answer is that the host is not there.
            Denied::Offline => (
                StatusCode::NOT_FOUND,
                "host_offline",
                "no agent answers for this host: is the host id right, and stream-agent running and connected?"
                    .into(),
            ),
            Denied::Late(None) => (
                StatusCode::GATEWAY_TIMEOUT,
                "host_not_answering",
                "the host is connected but did not answer in time: is it overloaded, or too old to answer before \
                 it has reached the relay?"
                    .into(),
            ),
            Denied::Late(Some(stream)) => (
                StatusCode::GATEWAY_TIMEOUT,
                "host_not_answering",
                format!(
                    "no answer in time. The JetStream stream {} captures the host's subjects, so NATS cannot tell \
                     whether the host is connected",
                    plain(&stream, MAX_REASON)
                ),
            ),
            // The agent's own code, so that a program can tell `busy` from `target_not_allowed`.
            Denied::Refused(refusal) => (StatusCode::CONFLICT, refusal.code.label(), refusal.message),
            Denied::Nats(why) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", why),
            Denied::Nonsense(why) => (
                StatusCode::BAD_GATEWAY,
                "host_not_understood",
                format!("the host's answer is not understood: {why}"),
            ),
            Denied::Broken(why) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", why),
        };
        Error::new(status, code, message)
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Error {
        match exceeded {
            Exceeded::Rate(wait) => {
                let message = format!(
                    "this key has had its requests of this minute: ask again in {} s",
                    wait.as_secs() + 1
                );
                let error = Error::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
                Error { retry_after: Some(wait), ..error }
            }
            Exceeded::Open(most) => {
                let message = format!(
                    "this key has {most} sessions that are open or wait for their client, as many as it may \
                     (max_open): end one, or wait for an end"
                );
                Error::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
            }
        }
    }
}

async fn route(
    platform: &Platform,
    request: Request<Incoming>,
    deed: &mut Deed,
) -> Result<(StatusCode, Value), Error> {
    deed.action = action(request.uri().path());
    let key = authorize(platform, &request)?;
    deed.key = Some(key.name.clone());
    if key.is_expired(SystemTime::now()) {
        let message = "this API key has expired: ask the relay's owner for a new one";
        return Err(Error::new(StatusCode::UNAUTHORIZED, "key_expired", message));
    }
    let path = request.uri().path();
    if path == SESSIONS {
        only(&request, &Method::POST, "POST")?;
        platform.usage.request(&key)?;
        return open(platform, &key, request, deed).await;
    }
    if let Some(session) = path.strip_prefix(SESSIONS).and_then(|rest| rest.strip_prefix('/')) {
        only(&request, &Method::DELETE, "DELETE")?;
        let is_id = |text: &str| {
            (1..=MAX_SESSION).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if !is_id(session) {
            return Err(Denied::UnknownSession.into());
        }
        deed.session = Some(session.to_owned());
        let host = host_in_query(request.uri().query())?;
        let host = platform.end(&key, session, host, ENDED).await?;
        deed.host = Some(host.to_string());
        return Ok((StatusCode::OK, json!({ "session": session })));
    }
    if let Some(host) = path.strip_prefix(HOSTS).and_then(|rest| rest.strip_suffix("/targets")) {
        only(&request, &Method::GET, "GET")?;
        platform.usage.request(&key)?;
        let host: HostId = host.parse().map_err(|error| bad(format!("{error}")))?;
        deed.host = Some(host.to_string());
        let list = platform.targets(&key, &host).await?;
        return Ok((StatusCode::OK, json!({ "host": list.host, "targets": list.targets })));
    }
    let message = format!("here are POST {SESSIONS}, DELETE {SESSIONS}/ID and GET {HOSTS}ID/targets");
    Err(Error::new(StatusCode::NOT_FOUND, "not_found", message))
}

/// What a request is about, for audit and metrics: never the path itself, which anybody can make up.
fn action(path: &str) -> &'static str {
    match path {
        SESSIONS => "open",
        path if path.starts_with(SESSIONS) => "end",
        path if path.starts_with(HOSTS) => "targets",
        _ => "other",
    }
}

async fn open(
    platform: &Platform,
    key: &ApiKey,
    request: Request<Incoming>,
    deed: &mut Deed,
) -> Result<(StatusCode, Value), Error> {
    let wish = read(request).await?;
    wish.check().map_err(bad)?;
    deed.host = Some(wish.host.to_string());
    deed.target = Some(wish.target.clone());
    deed.user = Some(wish.user.clone().unwrap_or_else(|| key.name.clone()));
    let session = platform.open(key, &wish).await?;
    let expires = format_rfc3339_seconds(session.expires).to_string();
    let body = json!({ "session": session.id, "url": session.url, "expires": expires });
    deed.session = Some(session.id);
    deed.token = Some(session.fingerprint);
    Ok((StatusCode::CREATED, body))
}

fn authorize(platform: &Platform, request: &Request<Incoming>) -> Result<ApiKey, Error> {
    let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme_and_key = presented.and_then(|value| value.split_once(' '));
    let key = scheme_and_key.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let current = platform.current();
    let known = key.and_then(|(_, key)| current.settings.policy.find(key.trim()));
    known.ok_or_else(|| {
        let message = "no API key, or an unknown one: send Authorization: Bearer KEY";
        Error::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    })
}

fn only(request: &Request<Incoming>, method: &Method, allow: &'static str) -> Result<(), Error> {
    if request.method() == method {
        return Ok(());
    }
    let error =
        Error::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("only {allow} works here"));
    Err(Error { allow: Some(allow), ..error })
}

fn host_in_query(query: Option<&str>) -> Result<Option<HostId>, Error> {
    let Some(query) = query else { return Ok(None) };
    let mut host = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "host" => host = Some(value.parse().map_err(|error| bad(format!("{error}")))?),
            other => return Err(bad(format!("unknown parameter `{}`", other.escape_debug()))),
        }
    }
    Ok(host)
}

async fn read(request: Request<Incoming>) -> Result<Wish, Error> {
    let body = timeout(BODY_WAIT, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let body = body.map_err(|_| {
        let message = format!("the body did not come within {} s", BODY_WAIT.as_secs());
        Error::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
    })?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let message = format!("the body is over {MAX_BODY} bytes");
            Error::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        }
        false => bad(format!("body cannot be read: {error}")),
    })?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| bad(format!("body: {error}")))
}

fn bad(message: String) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn reply(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The answer may hold a token.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::testing::{RELAY, Reaction, Served};
    use super::*;
    use crate::daemon::metrics::Metrics;
    use crate::protocol::command::{self, Refusal};
    use crate::protocol::token::Token;

    const KEYS: &str = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n\
        [[platform.api_key]]\nname = 'logs'\nsha256 = 'OTHER'\nhosts = ['h1']\ntargets = ['log']\n";

    fn accepted() -> Reaction {
        Reaction::Answer(serde_json::to_string(&command::Answer::accepted("s")).unwrap())
    }

    fn refused(code: command::Code) -> Reaction {
        let answer = command::Answer::refused(Refusal::new(code, "because"));
        Reaction::Answer(serde_json::to_string(&answer).unwrap())
    }

    fn wish(host: &str, target: &str) -> String {
        json!({ "host": host, "target": target }).to_string()
    }

    #[tokio::test]
    async fn a_session_is_a_grant_for_the_host_and_a_token_for_the_client() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let note = heard.clone();
        let served = Served::with(
            format!("max_seconds = 600\norigins = ['https://a.b']\n{KEYS}"),
            move |subject, payload| {
                note.lock().unwrap().push((subject.to_owned(), String::from_utf8(payload.to_vec()).unwrap()));
                accepted()
            },
        );
        let served = served.await;
        let body =
            r#"{"host":"h1","target":"vm","mode":"ro","params":{"a":"b"},"max_streams":8,"user":"alice"}"#;
        let (status, answer) = served.ask("POST", SESSIONS, "secret", body).await;
        assert_eq!(status, 201, "{answer}");
        let (subject, command) = heard.lock().unwrap().pop().unwrap();
        assert_eq!(subject, "stream.v1.host.h1.start");
        let token = answer["url"].as_str().unwrap().strip_prefix(&format!("{RELAY}/v1/stream/")).unwrap();
        assert!(!command.contains(token), "the token must not be in the command");

        let grant = serde_json::from_str::<Value>(&command).unwrap()["grant"].as_str().unwrap().to_owned();
        let grant = served.folder.issuers().verify(&grant).unwrap();
        let claims = grant.claims();
        assert_eq!(claims.token_sha256, token.parse::<Token>().unwrap().hash());
        assert_eq!((claims.iss.as_str(), grant.host().as_str()), ("stream-relay", "h1"));
        assert_eq!((claims.target.as_str(), claims.relay.as_str()), ("vm", RELAY));
        assert_eq!(
            (claims.exp - claims.iat, claims.max_seconds, claims.max_streams),
            (30, Some(600), Some(8))
        );
        assert_eq!((claims.user.as_deref(), &claims.params["a"][..]), (Some("alice"), "b"));
        assert_eq!((claims.origin[0].as_str(), &answer["session"]), ("https://a.b", &json!(claims.sid)));
        assert!(answer["expires"].as_str().unwrap().ends_with('Z'));

        // A limit of one's own beats the default, and the key's name stands in for a user.
        let body = r#"{"host":"h1","target":"vm","max_seconds":5}"#;
        served.ask("POST", SESSIONS, "secret", body).await;
        let (_, command) = heard.lock().unwrap().pop().unwrap();
        let command: Value = serde_json::from_str(&command).unwrap();
        let grant = served.folder.issuers().verify(command["grant"].as_str().unwrap()).unwrap();
        assert_eq!((grant.claims().max_seconds, grant.claims().user.as_deref()), (Some(5), Some("me")));
    }

    #[tokio::test]
    async fn every_trouble_has_its_own_code() {
        let served = Served::with(format!("answer_timeout = '50ms'\n{KEYS}"), |subject, _| match subject {
            "stream.v1.host.silent.start" => Reaction::Silence,
            "stream.v1.host.strange.start" => Reaction::Answer("<html>".into()),
            "stream.v1.host.vague.start" => Reaction::Answer(r#"{"v":1,"ok":false}"#.into()),
            "stream.v1.host.busy.start" => refused(command::Code::Busy),
            "stream.v1.host.h1.start" => accepted(),
            _ => Reaction::Nobody,
        });
        let served = served.await;
        for (key, body, status, code) in [
            ("secret", wish("gone", "t"), 404, "host_offline"),
            ("secret", wish("silent", "t"), 504, "host_not_answering"),
            ("secret", wish("strange", "t"), 502, "host_not_understood"),
            ("secret", wish("vague", "t"), 502, "host_not_understood"),
            ("secret", wish("busy", "t"), 409, "busy"),
            ("secret", wish("a.b", "t"), 400, "bad_request"),
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
            ("wrong", wish("h1", "t"), 401, "unauthorized"),
            ("other", wish("h1", "shell"), 403, "forbidden"),
            ("other", wish("h2", "log"), 403, "forbidden"),
            ("other", wish("h1", "log"), 201, ""),
        ] {
            let (got, answer) = served.ask("POST", SESSIONS, key, &body).await;
            assert_eq!((got, answer["code"].as_str().unwrap_or_default()), (status, code), "{answer}");
        }
        let (_, answer) = served.ask("POST", SESSIONS, "secret", r#"{"host":"h1","taget":"t"}"#).await;
        assert!(answer["message"].as_str().unwrap().contains("`taget`"), "{answer}");
        assert_eq!(served.ask("GET", "/api/v2", "secret", "").await.1["code"], "not_found");
        let answer =
            served.raw("PUT /api/v1/sessions HTTP/1.0\r\nAuthorization: bearer secret\r\n\r\n").await;
        assert!(answer.contains("405") && answer.contains("allow: POST"), "{answer}");
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

    /// One key with these lines, and hosts that accept.
    async fn served(lines: &str) -> Served {
        Served::with(format!("[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n{lines}\n"), |_, _| {
            accepted()
        })
        .await
    }

    fn wish_of(user: &str) -> String {
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
            let (got, answer) = served.ask("POST", SESSIONS, "secret", &wish_of(user)).await;
            assert_eq!(
                (got, answer["code"].as_str().unwrap_or_default()),
                (status, code),
                "{user}: {answer}"
            );
        }
    }

    #[tokio::test]
    async fn a_key_for_one_mode_asks_for_it_also_where_nobody_has() {
        let modes = Arc::new(Mutex::new(Vec::new()));
        let heard = modes.clone();
        let text = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\nmodes = ['ro']\n";
        let served = Served::with(text, move |_, payload| {
            let command: Value = serde_json::from_slice(payload).unwrap();
            let claims = command["grant"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
            heard.lock().unwrap().push(claims);
            accepted()
        })
        .await;
        assert_eq!(served.ask("POST", SESSIONS, "secret", &wish("h1", "t")).await.0, 201);
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
        let (status, answer) = over.ask("POST", SESSIONS, "secret", &wish("h1", "t")).await;
        assert_eq!((status, &answer["code"]), (401, &json!("key_expired")));

        let slow = served("rate = 1").await;
        assert_eq!(slow.ask("POST", SESSIONS, "secret", &wish("h1", "t")).await.0, 201);
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
        let (status, answer) = served.ask("POST", SESSIONS, "secret", &wish("h1", "t")).await;
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
            let (_, answer) = served.ask("POST", SESSIONS, "secret", &wish("h1", target)).await;
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
            ("secret", "a/b".into(), 404, "unknown_session"),
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
        let settings = served
            .folder
            .settings("answer_timeout = '50ms'\n[[platform.api_key]]\nname = 'x'\nsha256 = 'OTHER'\n");
        let moved = served.platform.reload(settings.unwrap(), "wss://new.example".into(), Duration::ZERO);
        assert!(!moved);
        assert_eq!(served.ask("POST", SESSIONS, "secret", &wish("h1", "t")).await.0, 401);
        let (_, answer) = served.ask("POST", SESSIONS, "other", &wish("h1", "t")).await;
        assert!(answer["url"].as_str().unwrap().starts_with("wss://new.example/v1/stream/"));
        assert_eq!(served.ask("POST", SESSIONS, "other", &wish("silent", "t")).await.0, 504);
        let settings = served.folder.settings(&format!("subject_prefix = 'x'\n{KEYS}")).unwrap();
        assert!(
            served.platform.reload(settings, RELAY.into(), Duration::ZERO),
            "another prefix needs a restart"
        );
    }

    /// Every event of the audit, as text.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl tracing::Subscriber for Lines {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == crate::daemon::audit::TARGET
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
}
