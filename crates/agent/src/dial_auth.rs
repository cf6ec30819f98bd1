//! What a relay is dialled with: its address, and the headers that prove the right to park there.

use std::sync::OnceLock;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use opener::allowed_relay;
use protocol::command::{Code, Refusal};
use protocol::headers;
use protocol::profile::Profile;
use websocket::address::Address;

use super::config::Settings;

/// Address and headers for the dials of one session; dropped after the last one.
pub(crate) struct DialAuth {
    pub relay: Address,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The session's secret, from the relay's first answer: spares show it.
    secret: OnceLock<HeaderValue>,
}

/// What the host allows a session; the relay gets it with each dial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub streams: u32,
    pub profile: Profile,
    /// Whether a client without cookie or key may be recognised by its address.
    pub same_address: bool,
}

impl DialAuth {
    /// A dial to the relay that a command names, if the owner allows it.
    ///
    /// # Errors
    /// [`Code::RelayNotAllowed`].
    pub(crate) fn new(
        relay: &str,
        dial_headers: Vec<(HeaderName, HeaderValue)>,
        settings: &Settings,
    ) -> Result<DialAuth, Refusal> {
        let relay = allowed_relay(relay, &settings.relays)?.below(headers::HOST_PATH);
        Ok(DialAuth { relay, headers: dial_headers, secret: OnceLock::new() })
    }

    /// The headers of a dial.
    pub(crate) fn headers(&self, terms: Terms) -> Vec<(HeaderName, HeaderValue)> {
        let name = HeaderName::from_static;
        let yes = || HeaderValue::from_static(headers::YES);
        let secret = self.secret.get().cloned().unwrap_or_else(yes);
        let mut headers = self.headers.clone();
        headers.push((name(headers::PROFILE), HeaderValue::from_static(terms.profile.label())));
        headers.push((name(headers::MAX_STREAMS), HeaderValue::from(terms.streams)));
        headers.push((name(headers::SESSION_SECRET), secret));
        if terms.same_address && terms.streams > 1 {
            headers.push((name(headers::SAME_ADDRESS), yes()));
        }
        headers
    }

    /// Keeps the secret from the answer to the first dial. A relay before 0.2.0 sends none.
    pub(crate) fn learn(&self, answer: &HeaderMap) {
        if let Some(secret) = answer.get(headers::SESSION_SECRET) {
            let mut secret = secret.clone();
            secret.set_sensitive(true);
            // Only the first counts.
            let _ = self.secret.set(secret);
        }
    }
}

pub(crate) fn bearer(secret: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    header(AUTHORIZATION.as_str(), &format!("Bearer {secret}"))
}

/// A header that logs do not show.
pub(crate) fn header(name: &'static str, value: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Refusal::new(Code::BadCommand, format!("{name} would not be a valid header")))?;
    value.set_sensitive(true);
    Ok((HeaderName::from_static(name), value))
}
