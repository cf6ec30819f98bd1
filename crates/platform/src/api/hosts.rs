//! `GET /api/v1/hosts`, `GET /api/v1/hosts/ID` and `GET /api/v1/hosts/ID/targets`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use humantime_serde::re::humantime::format_rfc3339_seconds;
use hyper::StatusCode;
use serde_json::{Value, json};

use http1::server::response::{self, Response};
use protocol::host::HostId;

use super::call::Call;
use super::error::ApiError;
use super::query::Query;
use crate::Platform;
use crate::denied::Denied;
use crate::hosts::{Host, HostQuery};

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref(), &["limit", "after", "q"])?;
    let query = HostQuery {
        part: query.get("q").unwrap_or_default().to_ascii_lowercase(),
        after: query.parsed("after")?,
        limit: query.limit()?,
    };
    platform.watch.look().await;
    let (list, more) = platform.hosts.list(&call.identity.key, &platform.current().named, &query);
    let next = list.last().filter(|_| more).map(|(id, _)| id.to_string());
    let hosts: Vec<Value> = list.iter().map(|(id, host)| show(id, host)).collect();
    let mut body = json!({ "hosts": hosts });
    if let Some(next) = next {
        body["next"] = next.into();
    }
    Ok(answer(&platform, body))
}

pub(super) async fn one(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    host: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = parse(host)?;
    call.record(|record| record.host = Some(id.to_string()));
    if !call.identity.key.may_see(&id) {
        return Err(Denied::Forbidden(call.identity.key.why_not(&id, None)).into());
    }
    platform.watch.look().await;
    let known = platform.hosts.find(&id);
    let host = known.or_else(|| platform.current().named.contains(&id).then(Host::default));
    let host = host.ok_or_else(|| {
        let message = "no agent with this host id was seen since the relay started, and no API key lists it";
        ApiError::new(StatusCode::NOT_FOUND, "unknown_host", message)
    })?;
    Ok(answer(&platform, show(&id, &host)))
}

pub(super) async fn targets(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    host: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    platform.usage.request(&call.identity.key)?;
    let host = parse(host)?;
    call.record(|record| record.host = Some(host.to_string()));
    let list = platform.targets(&call.identity.key, &host).await?;
    Ok(response::json(StatusCode::OK, &json!({ "host": list.host, "targets": list.targets })))
}

fn parse(host: Result<Path<String>, PathRejection>) -> Result<HostId, ApiError> {
    let Path(host) = host.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    host.parse().map_err(|error| ApiError::bad_request(format!("{error}")))
}

fn show(id: &HostId, host: &Host) -> Value {
    let mut shown = json!({ "host": id, "online": host.is_online });
    if let Some(version) = &host.version {
        shown["version"] = version.as_str().into();
    }
    if let Some(since) = host.since {
        shown["since"] = format_rfc3339_seconds(since).to_string().into();
    }
    shown
}

/// The body, and a word if it is not known who is online.
fn answer(platform: &Platform, mut body: Value) -> Response {
    if let Some(why) = platform.watch.trouble() {
        body["presence"] = "unknown".into();
        body["message"] = why.into();
    }
    response::json(StatusCode::OK, &body)
}
