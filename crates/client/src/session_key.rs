//! The key of a session: the first stream of a URL receives it, and later ones present it.

use std::sync::{Arc, OnceLock};

use hyper::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use protocol::control::{SUBPROTOCOL, ToClient};
use protocol::headers::SESSION_SUBPROTOCOL;
use websocket::dial::offer;

/// A key that may be known. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct SessionKey(Arc<OnceLock<HeaderValue>>);

impl SessionKey {
    /// Reads the key from a message. Only the relay's first message in a session of several streams has one.
    pub(crate) fn receive(&self, text: &str) {
        let Ok(ToClient::Session { key }) = serde_json::from_str(text) else { return };
        if let Ok(mut offers) = HeaderValue::from_str(&format!("{SUBPROTOCOL}, {SESSION_SUBPROTOCOL}{key}")) {
            offers.set_sensitive(true);
            // A session has one key.
            let _ = self.0.set(offers);
        }
    }

    /// Whether the session can have more streams.
    pub(crate) fn is_known(&self) -> bool {
        self.0.get().is_some()
    }

    /// The subprotocols to offer: ours, and the key if it is known.
    pub(crate) fn offer(&self) -> (HeaderName, HeaderValue) {
        match self.0.get() {
            Some(offers) => (SEC_WEBSOCKET_PROTOCOL, offers.clone()),
            None => offer(SUBPROTOCOL),
        }
    }
}
