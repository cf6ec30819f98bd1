//! `GET /api/v1/hosts/ID/targets`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use hyper::StatusCode;
use serde_json::json;

use http1::server::response::{self, Response};
use protocol::host::HostId;

use super::call::Call;
use super::error::ApiError;
use crate::Platform;

pub(super) async fn targets(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    host: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    platform.usage.request(&call.key)?;
    let Path(host) = host.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    let host: HostId = host.parse().map_err(|error| ApiError::bad_request(format!("{error}")))?;
    call.record(|record| record.host = Some(host.to_string()));
    let list = platform.targets(&call.key, &host).await?;
    Ok(response::json(StatusCode::OK, &json!({ "host": list.host, "targets": list.targets })))
}
