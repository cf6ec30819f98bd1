//! The refusals that only a relay has.

use hyper::StatusCode;

use http1::server::response::{Response, error};
use protocol::command::{Code, Refusal};
use websocket::upgrade::{NotWebsocket, upgrade_required};

/// A host's dial that is refused: 4xx, do not retry; 5xx, retry.
pub(crate) fn dial_refused(refusal: &Refusal) -> Response {
    let status = match refusal.code {
        Code::Busy | Code::RelayStarting | Code::Stopping | Code::Internal => StatusCode::SERVICE_UNAVAILABLE,
        Code::GrantReplayed => StatusCode::CONFLICT,
        Code::RelayNotAllowed | Code::GrantProof => StatusCode::FORBIDDEN,
        Code::BadCommand => StatusCode::BAD_REQUEST,
        _ => StatusCode::UNAUTHORIZED,
    };
    error(status, refusal.code.label(), &refusal.message)
}

/// A request for a websocket that cannot become one.
pub(crate) fn not_a_websocket(not: &NotWebsocket) -> Response {
    let mut response = error(not.status, "not_a_websocket", not.message);
    if not.status == StatusCode::UPGRADE_REQUIRED {
        upgrade_required(response.headers_mut());
    }
    response
}
