//! `POST /api/v1/sessions`, `GET /api/v1/sessions`, `GET /api/v1/sessions/ID` and `DELETE /api/v1/sessions/ID`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, Request, State};
use humantime_serde::re::humantime::format_rfc3339_seconds;
use hyper::StatusCode;
use serde_json::json;

use http1::server::response::{self, Response};

use super::body;
use super::call::Call;
use super::error::ApiError;
use super::query::Query;
use super::session_view::SessionView;
use crate::Platform;
use crate::denied::Denied;
use crate::open_request::OpenRequest;
use crate::session_index::{Session, SessionQuery};
use crate::stream_event::is_id;

/// The reason that clients of an ended session get.
pub(super) const ENDED: &str = "ended by an administrator";

pub(super) async fn open(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Result<Response, ApiError> {
    let identity = &call.identity;
    platform.usage.request(&identity.key)?;
    let open_request: OpenRequest = body::read(request).await?;
    open_request.check().map_err(ApiError::bad_request)?;
    call.record(|record| {
        record.host = Some(open_request.host.to_string());
        record.target = Some(open_request.target.clone());
        record.user = Some(open_request.user.clone().unwrap_or_else(|| identity.user.clone()));
    });
    let session = platform.open(identity, &open_request).await?;
    let expires = format_rfc3339_seconds(session.expires).to_string();
    let mut body = json!({ "session": session.id, "url": session.url, "expires": expires });
    if let Some(mode) = session.mode {
        body["mode"] = json!(mode);
    }
    call.record(|record| {
        record.session = Some(session.id);
        record.token = Some(session.fingerprint);
    });
    Ok(response::json(StatusCode::CREATED, &body))
}

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref(), &["state", "limit", "after"])?;
    let only_live = match query.get("state") {
        None | Some("open") => true,
        Some("all") => false,
        Some(_) => return Err(ApiError::bad_request("state: expected open or all")),
    };
    let query = SessionQuery { only_live, after: query.number("after")?, limit: query.limit()? };
    let (list, next) = platform.sessions.list(&call.identity.key, &query);
    let sessions: Vec<_> = list.iter().map(|(id, session)| SessionView::new(id, session)).collect();
    let mut body = json!({ "sessions": sessions });
    if let Some(next) = next {
        body["next"] = next.to_string().into();
    }
    Ok(response::json(StatusCode::OK, &body))
}

pub(super) async fn one(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    session: Option<Path<String>>,
) -> Result<Response, ApiError> {
    let (id, session) = find(&platform, &call, session)?;
    Ok(response::json(StatusCode::OK, &json!(SessionView::new(&id, &session))))
}

pub(super) async fn end(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    session: Option<Path<String>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let session = id(session)?;
    call.record(|record| record.session = Some(session.clone()));
    let host = Query::parse(query.as_deref(), &["host"])?.parsed("host")?;
    let host = platform.end(&call.identity.key, &session, host, ENDED).await?;
    call.record(|record| record.host = Some(host.to_string()));
    Ok(response::json(StatusCode::OK, &json!({ "session": session })))
}

/// A session that the key may see.
///
/// # Errors
/// 404 for every other one.
pub(super) fn find(
    platform: &Platform,
    call: &Call,
    session: Option<Path<String>>,
) -> Result<(String, Session), ApiError> {
    let id = id(session)?;
    call.record(|record| record.session = Some(id.clone()));
    let found = platform.sessions.find(&id).filter(|session| session.is_for(&call.identity.key));
    let session = found.ok_or(Denied::UnknownSession)?;
    call.record(|record| record.host = Some(session.host.to_string()));
    Ok((id, session))
}

fn id(session: Option<Path<String>>) -> Result<String, Denied> {
    let id = session.map(|Path(session)| session).filter(|session| is_id(session));
    id.ok_or(Denied::UnknownSession)
}
