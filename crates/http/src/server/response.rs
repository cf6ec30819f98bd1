//! Responses: JSON with a code for programs and a message for people.

use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};

/// The response to a request, with its whole body.
pub type Response = hyper::Response<Full<Bytes>>;

/// A response with a body of the given type. It must not be cached: it may hold a token.
pub fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A browser must not take a text for a page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The same with a body of JSON.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    body(status, "application/json", value.to_string())
}

/// An error as JSON, with the headers that its status must have (RFC 9110). A 405 allows GET.
pub fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let mut response = json(status, &serde_json::json!({ "code": code, "message": message }));
    match status {
        StatusCode::UNAUTHORIZED => {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        _ => {}
    }
    response
}

/// Closes the connection after this response.
pub fn make_last(response: &mut Response) {
    let is_upgrade = response.status() == StatusCode::UPGRADE_REQUIRED;
    // 426 names what to upgrade to in the same header (RFC 9110 section 7.8).
    let words = if is_upgrade { "Upgrade, close" } else { "close" };
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static(words));
}
