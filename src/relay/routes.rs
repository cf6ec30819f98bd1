//! Which path is whose. Everything is answered at once, with JSON where nothing else fits.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::protocol::headers::{HOST_PATH, STREAM_PATH};

use super::answer::{self, Answer};
use super::metrics::Cut;
use super::peer::Peer;
use super::places::Place;
use super::{Relay, client, form, host};

/// Whatever answers below [`API_PATH`]: the bundled platform, put there by the program.
pub trait Api: Send + Sync {
    /// Answers a request of `peer`.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

    /// Whether it can do its work.
    ///
    /// # Errors
    /// What is wrong.
    fn ready(&self) -> Result<(), String>;
}

/// What load balancers ask, without a token: 200, or 503 while the relay drains.
const HEALTH_PATH: &str = "/healthz";

/// Where the platform's API begins.
pub const API_PATH: &str = "/api/";

/// Answers on the public listener. Only who is served may ask again on the same connection.
pub async fn answer(
    relay: Arc<Relay>,
    request: Request<Incoming>,
    from: IpAddr,
    place: Arc<Place>,
) -> Answer {
    let mut answer = match form::check(&request) {
        Ok(()) => route(relay, request, from, place).await,
        Err(why) => answer::error(StatusCode::BAD_REQUEST, "bad_request", &why),
    };
    let is_served = answer.status().is_success() || answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !is_served {
        answer::last(&mut answer);
    }
    answer
}

async fn route(relay: Arc<Relay>, request: Request<Incoming>, from: IpAddr, place: Arc<Place>) -> Answer {
    let peer = Peer::of(from, request.headers(), &relay.settings().trusted_proxies);
    let address = peer.address;
    if address != from.to_canonical() && !place.is_of(relay.own_address(address)) {
        relay.metrics.cut(Cut::Full);
        let why = "too many connections of this address";
        return answer::error(StatusCode::TOO_MANY_REQUESTS, "too_many", why);
    }
    let path = request.uri().path();
    if path == HOST_PATH {
        return host::dial(&relay, request, address);
    }
    if path.starts_with(STREAM_PATH) || path == STREAM_PATH.trim_end_matches('/') {
        return client::knock(&relay, request, peer, place);
    }
    if path == HEALTH_PATH {
        return match relay.stopping.is_cancelled() {
            false => answer::body(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
            true => answer::error(StatusCode::SERVICE_UNAVAILABLE, "stopping", "relay is restarting"),
        };
    }
    match &relay.api {
        Some(api) if path.starts_with(API_PATH) => place.keep(api.clone().answer(request, address)).await,
        _ => answer::error(StatusCode::NOT_FOUND, "not_found", "nothing is here"),
    }
}
