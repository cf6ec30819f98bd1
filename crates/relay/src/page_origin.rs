//! Which page sends a request.

use hyper::HeaderMap;
use hyper::header::ORIGIN;

use protocol::origin::WebOrigin;

/// The origin of the page; `None` for a program, which sends none. What is not ASCII comes from no browser: it is an
/// origin that no list has, or it would count as a program.
pub(super) fn of(headers: &HeaderMap) -> Option<WebOrigin> {
    // There are not two of them: `routes.rs` refuses such a request.
    let sent = headers.get(ORIGIN)?;
    Some(WebOrigin::received(sent.to_str().unwrap_or_default()))
}
