//! What happens around every route: the request's key is looked up before it, and its record is written after it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{Method, StatusCode};

use super::error::{ApiError, Code};
use super::record::ApiRecord;
use super::routes;
use crate::Platform;
use crate::policy::ApiKey;

/// Where a request comes from, as the relay knows it.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// A request whose key is known, as its handler gets it.
#[derive(Clone)]
pub(super) struct Call {
    /// A known key that has not expired.
    pub key: ApiKey,
    record: Arc<Mutex<ApiRecord>>,
}

impl Call {
    /// Adds to the record, which is written after the response, also after an error.
    pub(super) fn record(&self, add: impl FnOnce(&mut ApiRecord)) {
        // Nothing panics while holding it.
        add(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Wraps every route, and paths that are no route: without a key, both get the same answer.
pub(super) async fn handle(
    State(platform): State<Arc<Platform>>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().and_then(|path| routes::find(path.as_str()));
    let action = route.map_or("other", |route| route.action);
    let record = Arc::new(Mutex::new(ApiRecord { action, ..ApiRecord::default() }));
    let response = match authorize(&platform, request.headers(), &record) {
        Ok(call) => {
            request.extensions_mut().insert(call);
            match (request.method(), route) {
                // axum would answer it as a GET, and ask the host for a list that is not sent.
                (&Method::HEAD, Some(route)) => ApiError::method_not_allowed(route).into_response(),
                _ => next.run(request).await,
            }
        }
        Err(error) => error.into_response(),
    };
    let code = response.extensions().get::<Code>().map_or("ok", |code| code.0);
    let record = record.lock().unwrap_or_else(PoisonError::into_inner);
    record.report(peer, response.status(), code, &platform.counts);
    response
}

fn authorize(
    platform: &Platform,
    headers: &HeaderMap,
    record: &Arc<Mutex<ApiRecord>>,
) -> Result<Call, ApiError> {
    let presented = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme_and_key = presented.and_then(|value| value.split_once(' '));
    let presented = scheme_and_key.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let current = platform.current();
    let known = presented.and_then(|(_, key)| current.settings.policy.find(key.trim()));
    let key = known.ok_or_else(|| {
        let message = match presented {
            Some(_) => "this platform does not know the API key: no sha256 of a [[platform.api_key]] is that of the key",
            None => "no API key: send Authorization: Bearer KEY",
        };
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    })?;
    let call = Call { key, record: record.clone() };
    call.record(|record| record.key = Some(call.key.name.clone()));
    if call.key.is_expired(SystemTime::now()) {
        let message = "this API key has expired: ask the relay's owner for a new one";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "key_expired", message));
    }
    Ok(call)
}
