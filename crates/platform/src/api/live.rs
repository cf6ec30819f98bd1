//! `GET /api/v1/live`: waits for a change.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use hyper::StatusCode;
use serde_json::json;

use http1::server::response::{self, Response};

use super::call::Call;
use super::error::ApiError;
use super::query::Query;
use crate::Platform;
use crate::changes::What;
use crate::whole_number::MAX_WHOLE;

pub(super) async fn wait(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let after = Query::parse(query.as_deref(), &["after"])?.number("after")?;
    if after.is_some_and(|after| after > MAX_WHOLE) {
        return Err(ApiError::bad_request(format!("after: expected a number up to {MAX_WHOLE}")));
    }
    platform.watch.look().await;
    let changed = platform.changes.wait(after, &call.identity.key, &call.identity.user).await?;
    let names = changed.what.iter().map(|what| match what {
        What::Hosts => "hosts",
        What::Sessions => "sessions",
    });
    let body = json!({ "at": changed.at, "changed": names.collect::<Vec<_>>() });
    Ok(response::json(StatusCode::OK, &body))
}
