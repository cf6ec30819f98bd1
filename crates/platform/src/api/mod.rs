//! The platform over HTTP, `/api/v1/`: JSON in, JSON out, and every error has a code and a message. This file has
//! the router, `routes.rs` the routes, and each noun a file; `call.rs` has what happens before and after every route.

use std::sync::Arc;

use axum::Router;
use axum::extract::MatchedPath;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use tower_service::Service;

use http1::server::response::{self, Response};

use super::Platform;
pub use call::Peer;
use error::ApiError;
use routes::{
    HOST, HOSTS, LINKS, LIVE, ME, NO_SESSION, PREVIEW, SESSION, SESSIONS, SIGN_IN, SIGN_OUT, TARGETS, VIEWER,
};

mod body;
mod call;
mod error;
mod hosts;
mod live;
mod query;
mod record;
mod routes;
mod session_view;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
mod viewer;

/// The router for all paths below `/api/`.
pub struct Api(Router);

impl Api {
    /// The API of this platform.
    pub fn new(platform: Arc<Platform>) -> Api {
        let router = Router::new()
            .route(SIGN_IN.path, post(sign_in::sign_in))
            .route(PREVIEW.path, post(sign_in::preview))
            .route(ME.path, get(sign_in::me))
            .route(SIGN_OUT.path, post(sign_in::sign_out))
            .route(LINKS.path, post(sign_in::create_link))
            .route(HOSTS.path, get(hosts::list))
            .route(HOST.path, get(hosts::one))
            .route(TARGETS.path, get(hosts::targets))
            .route(SESSIONS.path, get(sessions::list).post(sessions::open))
            .route(SESSION.path, get(sessions::one).delete(sessions::end))
            .route(NO_SESSION.path, delete(sessions::end))
            .route(VIEWER.path, post(viewer::file))
            .route(LIVE.path, get(live::wait))
            .fallback(async || ApiError::not_found())
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn_with_state(platform.clone(), call::handle));
        Api(router.with_state(platform))
    }

    /// Answers one request of `peer`.
    pub async fn respond(&self, mut request: Request<Incoming>, peer: Peer) -> Response {
        request.extensions_mut().insert(peer);
        let Ok(response) = self.0.clone().call(request).await;
        let (head, body) = response.into_parts();
        match body.collect().await {
            Ok(body) => Response::from_parts(head, body.to_bytes().into()),
            Err(error) => response::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
        }
    }
}

async fn method_not_allowed(path: MatchedPath) -> ApiError {
    routes::find(path.as_str()).map_or_else(ApiError::not_found, ApiError::method_not_allowed)
}
