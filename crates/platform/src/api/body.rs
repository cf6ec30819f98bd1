//! The body of a request: JSON, with a limit to its size and to the time that it takes.

use std::time::Duration;

use axum::extract::Request;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::error::ApiError;
use crate::identity::bearer;

/// The largest body of a request that is read, in bytes.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// How long the body of a request may take.
const BODY_WAIT: Duration = Duration::from_secs(10);

const JSON: &str = "application/json";

/// What curl writes by default. Forms of pages can send it too, but no form sends an API key.
const FORM: &str = "application/x-www-form-urlencoded";

/// Reads a body.
///
/// # Errors
/// 408, 413, 415, or 400 with what is wrong.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    check_type(&request)?;
    let body = timeout(BODY_WAIT, Limited::new(request.into_body(), MAX_BODY).collect()).await;
    let body = body.map_err(|_| {
        let message = format!("the body did not come within {} s", BODY_WAIT.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)
    })?;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let message = format!("the body is over {MAX_BODY} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        }
        false => ApiError::bad_request(format!("body cannot be read: {error}")),
    })?;
    parse(&body.to_bytes()).map_err(ApiError::bad_request)
}

/// Only JSON, which no page of another origin can send without being asked first. With an API key that does not
/// matter, and programs before 0.2.0 may have sent no type.
fn check_type(request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    let written = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = written.map(|written| written.split(';').next().unwrap_or_default().trim());
    let is_good = match essence {
        Some(essence) if essence.eq_ignore_ascii_case(JSON) => true,
        Some(essence) => bearer(headers).is_some() && essence.eq_ignore_ascii_case(FORM),
        None => bearer(headers).is_some(),
    };
    if is_good {
        return Ok(());
    }
    let message = format!("the body must be JSON: send Content-Type: {JSON}");
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type", message))
}

/// Reads the body: a value that is wrong is called by its key, and only text that is no JSON by its place.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let key = error.path().to_string();
        let inner = error.into_inner();
        let text = inner.to_string();
        if !inner.is_data() {
            return format!("the body is not JSON: {text}");
        }
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        if key == "." { format!("body: {text}") } else { format!("{key}: {text}") }
    })?;
    json.end().map_err(|error| format!("the body is not JSON: {error}"))?;
    Ok(value)
}
