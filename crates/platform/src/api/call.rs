//! What happens around every route: it is looked up who asks before it, and its record is written after it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::header::{HeaderValue, SET_COOKIE};
use hyper::{Method, StatusCode};

use super::error::{ApiError, Code};
use super::record::ApiRecord;
use super::routes::{self, Access, Route};
use crate::Platform;
use crate::identity::{self, Identity, NoIdentity};

/// Where a request comes from, as the relay knows it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    /// Whether many may have this address: it may be that of a proxy outside `trusted_proxies`.
    pub may_be_proxy: bool,
}

/// The record of a request, which is written after the response, also after an error.
#[derive(Clone)]
pub(super) struct Note(Arc<Mutex<ApiRecord>>);

impl Note {
    pub(super) fn add(&self, add: impl FnOnce(&mut ApiRecord)) {
        // Nothing panics while holding it.
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A request of somebody who is known, as its handler gets it.
#[derive(Clone)]
pub(super) struct Call {
    pub identity: Identity,
    note: Note,
}

impl Call {
    /// Adds to the record.
    pub(super) fn record(&self, add: impl FnOnce(&mut ApiRecord)) {
        self.note.add(add);
    }
}

/// Wraps every route, and paths that are no route: without a key, both get the same answer.
pub(super) async fn handle(
    State(platform): State<Arc<Platform>>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().and_then(|path| routes::find(path.as_str()));
    let method = route.and_then(|route| route.method(request.method()));
    let action = method.map_or("other", |method| method.action);
    let is_polled = method.is_some_and(|method| method.is_polled);
    // Whatever the answer is, a browser that wants to sign out is not to keep its cookie.
    let removal = method.is_some_and(|method| method.removes_cookie);
    let removal =
        removal.then(|| identity::removal(&platform.current().origins, request.headers())).flatten();
    let note = Note(Arc::new(Mutex::new(ApiRecord { action, is_polled, ..ApiRecord::default() })));
    let mut response = match authorize(&platform, route, &request, &note) {
        Ok(call) => {
            request.extensions_mut().insert(note.clone());
            call.map(|call| request.extensions_mut().insert(call));
            match (method, route) {
                // axum would answer a HEAD as a GET, and ask the host for a list that is not sent.
                (None, Some(route)) => ApiError::method_not_allowed(route).into_response(),
                _ => next.run(request).await,
            }
        }
        Err(error) => error.into_response(),
    };
    if let Some(removal) = removal.and_then(|removal| HeaderValue::from_str(&removal).ok()) {
        response.headers_mut().insert(SET_COOKIE, removal);
    }
    let code = response.extensions().get::<Code>().map_or("ok", |code| code.0);
    note.add(|record| record.report(peer.address, response.status(), code, &platform.counts));
    response
}

/// Who asks, unless anybody may.
fn authorize(
    platform: &Platform,
    route: Option<&'static Route>,
    request: &Request,
    note: &Note,
) -> Result<Option<Call>, ApiError> {
    if route.is_some_and(Route::is_for_anyone) {
        return Ok(None);
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let current = platform.current();
    let found =
        platform.sign_in.identify(&current.settings.policy, &current.origins, request.headers(), is_read);
    let identity = found.inspect_err(|why| {
        if let NoIdentity::KeyExpired(name) = why {
            note.add(|record| record.key = Some(name.clone()));
        }
    })?;
    note.add(|record| {
        record.key = Some(identity.key.name.clone());
        record.user = identity.cookie.as_ref().map(|_| identity.user.clone());
    });
    let access = route.and_then(|route| route.method(request.method())).map(|method| method.access);
    if access == Some(Access::Key) && identity.cookie.is_some() {
        let why = "only the holder of an API key may do this: send Authorization: Bearer KEY";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", why));
    }
    Ok(Some(Call { identity, note: note.clone() }))
}
