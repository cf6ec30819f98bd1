//! What operators and monitoring ask: alive, ready, metrics. On its own listener, without a password.

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use crate::daemon::metrics::CONTENT_TYPE;

use super::Relay;
use super::answer::{self, Answer};

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers on the admin listener.
pub fn answer(relay: &Relay, request: &Request<Incoming>) -> Answer {
    if request.method() != Method::GET {
        return answer::error(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "only GET is answered here",
        );
    }
    match request.uri().path() {
        "/livez" => answer::body(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => match relay.ready() {
            Ok(()) => answer::body(StatusCode::OK, TEXT, "ok\n"),
            Err(why) => answer::body(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/metrics" => answer::body(StatusCode::OK, CONTENT_TYPE, relay.all_metrics.render()),
        _ => answer::error(StatusCode::NOT_FOUND, "not_found", "here are /livez, /readyz and /metrics"),
    }
}
