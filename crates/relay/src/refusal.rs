//! The refusals that only a relay has.

use hyper::StatusCode;

use http1::server::response::{Response, error};
use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal};
use protocol::end::End;
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

/// A client that is refused and is no websocket: the status that is nearest to the close code, which is in the body by its
/// label.
pub(crate) fn client_refused(why: &CloseFrame) -> Response {
    let status = match why.end() {
        End::BadRequest => StatusCode::BAD_REQUEST,
        End::TokenMalformed | End::NotAllowed => StatusCode::FORBIDDEN,
        End::NoHost => StatusCode::NOT_FOUND,
        End::TokenUsed => StatusCode::CONFLICT,
        End::SessionEnded => StatusCode::GONE,
        End::TooMany => StatusCode::TOO_MANY_REQUESTS,
        End::RelayRestarting => StatusCode::SERVICE_UNAVAILABLE,
        End::HostLate | End::TargetTimeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    error(status, why.end().label(), why.words())
}

/// A request for a websocket that cannot become one.
pub(crate) fn not_a_websocket(not: &NotWebsocket) -> Response {
    let mut response = error(not.status, "not_a_websocket", not.message);
    if not.status == StatusCode::UPGRADE_REQUIRED {
        upgrade_required(response.headers_mut());
    }
    response
}
