//! Which path is whose. Everything is answered at once, with JSON where nothing else fits.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use http1::server::admin::TEXT;
use http1::server::request;
use http1::server::response::{self, Response};
use protocol::headers::{self, HOST_PATH, STREAM_PATH};
use protocol::proof;

use super::api::API_PATH;
use super::metrics::Cut;
use super::peer::Peer;
use super::slots::Slot;
use super::state::State;
use super::{client, connect, host};

const ONCE: [&str; 12] = [
    "host",
    "origin",
    "authorization",
    "proxy-authorization",
    "sec-websocket-key",
    "sec-websocket-version",
    headers::HOST,
    headers::RELAY_KEY,
    headers::MAX_STREAMS,
    headers::MAX_SECONDS,
    headers::PROFILE,
    proof::HEADER,
];

/// What load balancers ask, without a token: 200, or 503 while the relay drains.
const HEALTH_PATH: &str = "/healthz";

/// Answers on the public listener. Only who is served may ask again on the same connection.
pub(crate) async fn respond(
    relay: Arc<State>,
    request: Request<Incoming>,
    from: IpAddr,
    slot: Arc<Slot>,
) -> Response {
    let mut response = match request::check(&request, &ONCE) {
        Ok(()) => route(relay, request, from, slot).await,
        Err(why) => response::error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    let is_served = response.status().is_success()
        || matches!(response.status(), StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED);
    if !is_served {
        response::make_last(&mut response);
    }
    response
}

async fn route(relay: Arc<State>, request: Request<Incoming>, from: IpAddr, slot: Arc<Slot>) -> Response {
    let peer = Peer::new(from, request.headers(), &relay.settings().trusted_proxies);
    let address = peer.address;
    if address != from.to_canonical() && !slot.set_address(relay.own_address(address)) {
        relay.metrics.cut(Cut::Full);
        let why = "too many connections of this address";
        return response::error(StatusCode::TOO_MANY_REQUESTS, "too_many", why);
    }
    if request.method() == Method::CONNECT {
        return connect::connect(&relay, request, from, peer, slot).await;
    }
    let path = request.uri().path();
    if path == HOST_PATH {
        return host::dial(&relay, request, address);
    }
    if path.starts_with(STREAM_PATH) || path == STREAM_PATH.trim_end_matches('/') {
        if let Some(response) = relay.pages().lead(&request) {
            return response;
        }
        return client::connect(&relay, request, peer, slot);
    }
    if path == HEALTH_PATH {
        return match relay.stopping.is_cancelled() {
            false => response::body(StatusCode::OK, TEXT, "ok\n"),
            true => response::error(StatusCode::SERVICE_UNAVAILABLE, "stopping", "relay is restarting"),
        };
    }
    match &relay.api {
        Some(api) if path.starts_with(API_PATH) => {
            slot.pinned(api.clone().respond(request, address, peer.own.is_none())).await
        }
        None if path.starts_with(API_PATH) => {
            let why = "this relay has no platform: there is no [platform] in its configuration";
            response::error(StatusCode::NOT_FOUND, "not_found", why)
        }
        _ => relay.pages().respond(&request),
    }
}
