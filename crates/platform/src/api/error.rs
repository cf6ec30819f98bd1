//! Errors of the API: a status, a code for programs and a message for people.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};

use http1::server::response;
use protocol::close::MAX_REASON;
use protocol::plain::plain;

use super::routes::{Route, WHAT_IS_HERE};
use crate::changes::TooManyWait;
use crate::denied::Denied;
use crate::identity::{LinkError, NoIdentity, NotHere, TooMany};
use crate::usage::Exceeded;

/// Why a request is not served.
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    allow: Option<String>,
    retry_after: Option<Duration>,
}

/// The code of the error that a response stands for, for the record.
#[derive(Clone, Copy)]
pub(super) struct Code(pub &'static str);

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), allow: None, retry_after: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn not_found() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", WHAT_IS_HERE)
    }

    /// Too many: the next may come after `wait`.
    pub(super) fn too_many(message: impl Into<String>, wait: Duration) -> ApiError {
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        ApiError { retry_after: Some(wait), ..error }
    }

    /// Nobody can sign in, for this reason.
    pub(super) fn sign_in_off(why: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "sign_in_off", why)
    }

    /// Whether it was an attempt to guess something.
    pub(super) fn is_guess(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// The route exists, with other methods.
    pub(super) fn method_not_allowed(route: &Route) -> ApiError {
        let allow = route.allow();
        let message = format!("only {allow} works here");
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        ApiError { allow: Some(allow), ..error }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = response::error(self.status, self.code, &self.message);
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            response.headers_mut().insert(ALLOW, allow);
        }
        if let Some(wait) = self.retry_after {
            // A whole second more rather than a try too early.
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response.extensions_mut().insert(Code(self.code));
        response.into_response()
    }
}

/// `docs/platform.md` has the same table.
impl From<Denied> for ApiError {
    fn from(denied: Denied) -> ApiError {
        let (status, code, message) = match denied {
            Denied::Forbidden(why) => (StatusCode::FORBIDDEN, "forbidden", why),
            Denied::Exceeded(exceeded) => return exceeded.into(),
            Denied::UnknownSession => (
                StatusCode::NOT_FOUND,
                "unknown_session",
                "no such session was opened here lately: name its host with ?host=ID".into(),
            ),
            Denied::BadRequest(why) => return ApiError::bad_request(why),
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
                    "no answer in time. The JetStream stream {} captures the host's subjects, so NATS cannot report \
                     whether the host is connected",
                    plain(&stream, MAX_REASON)
                ),
            ),
            // The agent's own code, so that a program can distinguish `busy` from `target_not_allowed`.
            Denied::Refused(refusal) => (StatusCode::CONFLICT, refusal.code.label(), refusal.message),
            Denied::Nats(why) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", why),
            Denied::NotUnderstood(why) => (
                StatusCode::BAD_GATEWAY,
                "host_not_understood",
                format!("the host's answer is not understood: {why}"),
            ),
            Denied::Broken(why) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", why),
        };
        ApiError::new(status, code, message)
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> ApiError {
        match exceeded {
            Exceeded::Rate(wait) => {
                let message = format!(
                    "this key has had its requests of this minute: ask again in {} s",
                    wait.as_secs() + 1
                );
                ApiError::too_many(message, wait)
            }
            Exceeded::Open(most) => {
                let message = format!(
                    "this key has {most} sessions that are open or wait for their client, as many as it may \
                     (max_open): end one, or wait for an end"
                );
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
            }
        }
    }
}

impl From<NoIdentity> for ApiError {
    fn from(why: NoIdentity) -> ApiError {
        let (code, message) = match why {
            NoIdentity::Nothing => ("unauthorized", "no API key: send Authorization: Bearer KEY, or sign in"),
            NoIdentity::UnknownKey => (
                "unauthorized",
                "this platform does not know the API key: no sha256 of a [[platform.api_key]] is that of the key",
            ),
            NoIdentity::KeyExpired(_) => {
                ("key_expired", "this API key has expired: ask the relay's owner for a new one")
            }
            NoIdentity::SignedOut => ("unauthorized", "you are signed out: sign in again"),
            NoIdentity::NotHere(why) => return why.into(),
        };
        ApiError::new(StatusCode::UNAUTHORIZED, code, message)
    }
}

impl From<NotHere> for ApiError {
    fn from(why: NotHere) -> ApiError {
        let (code, message) = match why {
            NotHere::OtherHost(url) => {
                ("other_host", format!("this relay has another address for browsers: open {url}/"))
            }
            NotHere::PlainHttp(url) => match url.strip_prefix("http://") {
                Some(rest) => (
                    "plain_http",
                    format!(
                        "http://{rest} is not encrypted, so what you type here could be read on the way: give the \
                         relay a wss:// address in public_urls (with [tls], or behind a proxy with TLS), or use it \
                         on this machine"
                    ),
                ),
                None => ("plain_http", format!("this page was loaded without encryption: open {url}/ instead")),
            },
            NotHere::CrossSite => (
                "cross_site",
                "this request does not come from a page of this relay, so the cookie does not count: programs use \
                 Authorization: Bearer KEY"
                    .into(),
            ),
        };
        ApiError::new(StatusCode::FORBIDDEN, code, message)
    }
}

impl From<LinkError> for ApiError {
    fn from(why: LinkError) -> ApiError {
        let (code, message) = match why {
            LinkError::Unknown => (
                "unauthorized",
                "this link is not known: it is not complete, or the relay has restarted since; ask for a new one",
            ),
            LinkError::Used => ("link_used", "this link was used already: ask for a new one"),
            LinkError::Expired => ("link_expired", "this link is over 10 minutes old: ask for a new one"),
        };
        ApiError::new(StatusCode::UNAUTHORIZED, code, message)
    }
}

impl From<TooMany> for ApiError {
    fn from(TooMany(most): TooMany) -> ApiError {
        let message =
            format!("{most} links wait to be used, as many as there may be: each is gone after 10 minutes");
        ApiError::too_many(message, Duration::from_secs(60))
    }
}

impl From<TooManyWait> for ApiError {
    fn from(why: TooManyWait) -> ApiError {
        let (most, whom) = match why {
            TooManyWait::OfUser(most) => (most, "user"),
            TooManyWait::OfKey(most) => (most, "key"),
        };
        let message =
            format!("{most} requests of this {whom} wait for changes, as many as may: close some pages");
        ApiError::too_many(message, Duration::from_secs(5))
    }
}
