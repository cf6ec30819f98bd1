//! The platform over HTTP: `/api/v1/`. JSON in, JSON out; every error has a code and a message.

use std::net::IpAddr;

use http_body_util::{BodyExt, Full, Limited};
use humantime_serde::re::humantime::format_rfc3339_seconds;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::policy::ApiKey;
use super::wish::Wish;
use super::{Denied, Platform};

/// The largest body of a request that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

const SESSIONS: &str = "/api/v1/sessions";
const HOSTS: &str = "/api/v1/hosts/";

type Answer = Response<Full<Bytes>>;

/// Answers one request of `peer`.
pub async fn answer(platform: &Platform, request: Request<Incoming>, peer: IpAddr) -> Answer {
    match route(platform, request, peer).await {
        Ok((status, body)) => reply(status, &body),
        Err(error) => error.into_answer(),
    }
}

struct Error {
    status: StatusCode,
    code: String,
    message: String,
    allow: Option<&'static str>,
}

impl Error {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Error {
        Error { status, code: code.into(), message: message.into(), allow: None }
    }

    fn into_answer(self) -> Answer {
        let mut answer = reply(self.status, &json!({ "code": self.code, "message": self.message }));
        if let Some(allow) = self.allow {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Error {
        match denied {
            Denied::Forbidden => Error::new(StatusCode::FORBIDDEN, "forbidden", "this key may not open that"),
            Denied::UnknownSession => {
                Error::new(StatusCode::NOT_FOUND, "unknown_session", "no such session was opened here lately")
            }
            Denied::Offline => Error::new(
                StatusCode::NOT_FOUND,
                "host_offline",
                "no agent answers for this host: is the host id right, and stream-agent running and connected?",
            ),
            Denied::Late => Error::new(
                StatusCode::GATEWAY_TIMEOUT,
                "host_not_answering",
                "the host is connected but did not answer in time: it may be unable to reach the relay",
            ),
            // The agent's own code, so that a program can tell `busy` from `target_not_allowed`.
            Denied::Refused(refusal) => {
                Error::new(StatusCode::CONFLICT, refusal.code.label(), refusal.message)
            }
            Denied::Broken(message) => Error::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message),
        }
    }
}

async fn route(
    platform: &Platform,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Result<(StatusCode, Value), Error> {
    let key = authorize(platform, &request)?;
    let path = request.uri().path().to_owned();
    if path == SESSIONS {
        only(&request, &Method::POST, "POST")?;
        let wish = read(request).await?;
        let session = platform.open(&key, wish, peer).await?;
        let expires = format_rfc3339_seconds(session.expires).to_string();
        return Ok((
            StatusCode::CREATED,
            json!({ "session": session.id, "url": session.url, "expires": expires }),
        ));
    }
    if let Some(session) = path.strip_prefix(SESSIONS).and_then(|rest| rest.strip_prefix('/')) {
        only(&request, &Method::DELETE, "DELETE")?;
        platform.end(&key, session, "ended by an administrator").await?;
        return Ok((StatusCode::OK, json!({ "session": session })));
    }
    if let Some(host) = path.strip_prefix(HOSTS).and_then(|rest| rest.strip_suffix("/targets")) {
        only(&request, &Method::GET, "GET")?;
        let host = host.parse().map_err(|error| bad(format!("{error}")))?;
        let list = platform.targets(&key, &host).await?;
        return Ok((StatusCode::OK, json!({ "host": list.host, "targets": list.targets })));
    }
    let message = format!("here are POST {SESSIONS}, DELETE {SESSIONS}/ID and GET {HOSTS}ID/targets");
    Err(Error::new(StatusCode::NOT_FOUND, "not_found", message))
}

fn authorize(platform: &Platform, request: &Request<Incoming>) -> Result<ApiKey, Error> {
    let presented = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = presented.and_then(|value| value.strip_prefix("Bearer ")).map(|key| key.trim());
    let settings = platform.settings();
    let known = key.and_then(|key| settings.policy.find(key));
    known.cloned().ok_or_else(|| {
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

async fn read(request: Request<Incoming>) -> Result<Wish, Error> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|error| bad(format!("body cannot be read: {error}")))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| bad(format!("body: {error}")))
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
