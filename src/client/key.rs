//! The key of a session, which the first stream of a URL gets, and which later ones show.

use std::sync::{Arc, OnceLock};

use hyper::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use crate::link::dial::offer;
use crate::protocol::control::{SUBPROTOCOL, ToClient};
use crate::protocol::headers::SESSION_SUBPROTOCOL;

/// A key that may be known. Clones are the same.
#[derive(Clone, Default)]
pub struct SessionKey(Arc<OnceLock<HeaderValue>>);

impl SessionKey {
    /// Hears a message; only the relay's first one of a session of several streams has a key.
    pub fn hear(&self, text: &str) {
        let Ok(ToClient::Session { key }) = serde_json::from_str(text) else { return };
        if let Ok(mut offers) = HeaderValue::from_str(&format!("{SUBPROTOCOL}, {SESSION_SUBPROTOCOL}{key}")) {
            offers.set_sensitive(true);
            // A session has one key.
            let _ = self.0.set(offers);
        }
    }

    /// Whether the session takes more streams.
    pub fn is_known(&self) -> bool {
        self.0.get().is_some()
    }

    /// The subprotocols to offer: ours, and the key if it is known.
    pub fn offer(&self) -> (HeaderName, HeaderValue) {
        match self.0.get() {
            Some(offers) => (SEC_WEBSOCKET_PROTOCOL, offers.clone()),
            None => offer(SUBPROTOCOL),
        }
    }
}
