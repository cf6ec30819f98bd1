//! HTTP answers: JSON with a code for programs and a message for people.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::link::upgrade::upgrade_required;
use crate::protocol::command::{Code, Refusal};

/// The type of every answer.
pub type Answer = Response<Full<Bytes>>;

/// An answer with a body of the given type.
pub fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An error as JSON.
pub fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    let json = serde_json::json!({ "code": code, "message": message });
    let mut answer = body(status, "application/json", json.to_string());
    match status {
        StatusCode::UPGRADE_REQUIRED => upgrade_required(answer.headers_mut()),
        StatusCode::UNAUTHORIZED => {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        _ => {}
    }
    answer
}

/// Makes it the last answer on its connection.
pub fn last(answer: &mut Answer) {
    let is_upgrade = answer.status() == StatusCode::UPGRADE_REQUIRED;
    // 426 names what to upgrade to in the same header (RFC 9110 section 7.8).
    let words = if is_upgrade { "Upgrade, close" } else { "close" };
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static(words));
}

/// A host's dial that is refused: 4xx, do not retry; 5xx, retry.
pub fn refusal(refusal: &Refusal) -> Answer {
    let status = match refusal.code {
        Code::Busy | Code::RelayStarting | Code::Stopping | Code::Internal => StatusCode::SERVICE_UNAVAILABLE,
        Code::GrantReplayed => StatusCode::CONFLICT,
        Code::RelayNotAllowed | Code::GrantProof => StatusCode::FORBIDDEN,
        Code::BadCommand => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNAUTHORIZED,
    };
    error(status, refusal.code.label(), &refusal.message)
}
