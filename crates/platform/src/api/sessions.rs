//! `POST /api/v1/sessions` and `DELETE /api/v1/sessions/ID`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, Request, State};
use humantime_serde::re::humantime::format_rfc3339_seconds;
use hyper::StatusCode;
use serde_json::json;

use http1::server::response::{self, Response};
use protocol::host::HostId;

use super::body;
use super::call::Call;
use super::error::ApiError;
use crate::open_request::OpenRequest;
use crate::{Denied, Platform};

/// The longest id of a session, in characters: a ULID has 26.
const MAX_SESSION: usize = 64;

/// The reason that clients of an ended session get.
pub(super) const ENDED: &str = "ended by an administrator";

pub(super) async fn open(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Result<Response, ApiError> {
    platform.usage.request(&call.key)?;
    let open_request: OpenRequest = body::read(request.into_body()).await?;
    open_request.check().map_err(ApiError::bad_request)?;
    call.record(|record| {
        record.host = Some(open_request.host.to_string());
        record.target = Some(open_request.target.clone());
        record.user = Some(open_request.user.clone().unwrap_or_else(|| call.key.name.clone()));
    });
    let session = platform.open(&call.key, &open_request).await?;
    let expires = format_rfc3339_seconds(session.expires).to_string();
    let body = json!({ "session": session.id, "url": session.url, "expires": expires });
    call.record(|record| {
        record.session = Some(session.id);
        record.token = Some(session.fingerprint);
    });
    Ok(response::json(StatusCode::CREATED, &body))
}

pub(super) async fn end(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    session: Option<Path<String>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let Some(Path(session)) = session.filter(|session| is_id(session)) else {
        return Err(Denied::UnknownSession.into());
    };
    call.record(|record| record.session = Some(session.clone()));
    let host = host_in_query(query.as_deref())?;
    let host = platform.end(&call.key, &session, host, ENDED).await?;
    call.record(|record| record.host = Some(host.to_string()));
    Ok(response::json(StatusCode::OK, &json!({ "session": session })))
}

fn is_id(text: &str) -> bool {
    (1..=MAX_SESSION).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Refuses unknown parameters: a misspelt `host` must not be ignored.
fn host_in_query(query: Option<&str>) -> Result<Option<HostId>, ApiError> {
    let Some(query) = query else { return Ok(None) };
    let mut host = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "host" => {
                let given = value.parse().map_err(|error| ApiError::bad_request(format!("{error}")))?;
                host = Some(given);
            }
            other => {
                let why = format!("unknown parameter `{}`", other.escape_debug());
                return Err(ApiError::bad_request(why));
            }
        }
    }
    Ok(host)
}
