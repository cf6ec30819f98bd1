//! The one crypto provider, and the one protocol inside TLS.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Websockets need HTTP/1.1: over HTTP/2 they work in another way (RFC 8441).
pub(super) const ALPN: &[u8] = b"http/1.1";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
