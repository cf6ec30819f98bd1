//! The server's half of the websocket handshake (RFC 6455 section 4.2), on top of hyper.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Response, StatusCode, Version};
use ring::digest;

use http1::upgrade::into_io;
use net::socket::Socket;

/// The largest head of a response that is read, in bytes.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// The constant that a server hashes with the client's key (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The error for a handshake from a reverse proxy in its default configuration (RFC 6455 section 4.2.1 requires
/// HTTP/1.1).
const HTTP_1_0: &str = "this came as HTTP/1.0, which has no websockets: a proxy on the way must speak HTTP/1.1 to \
                        the relay (nginx: proxy_http_version 1.1, and the headers Upgrade and Connection)";

/// The error for another default of reverse proxies.
const NO_UPGRADE: &str = "the headers of a websocket handshake came without Upgrade and Connection: a proxy on the \
                          way has to pass them on (nginx: proxy_set_header Upgrade $http_upgrade, and Connection upgrade)";

#[derive(Debug)]
pub struct Request {
    accept: HeaderValue,
    offered: Vec<String>,
}

/// Why a request cannot become a websocket.
#[derive(Debug)]
pub struct NotWebsocket {
    pub status: StatusCode,
    /// Message of the answer, for people.
    pub message: &'static str,
}

impl Request {
    /// Checks the handshake in a request.
    ///
    /// # Errors
    /// The status to answer with: 405, 426 (with the headers of [`upgrade_required`]) or 400.
    pub fn parse<B>(request: &hyper::Request<B>) -> Result<Request, NotWebsocket> {
        let (method, headers) = (request.method(), request.headers());
        let refuse = |status, message| Err(NotWebsocket { status, message });
        lost_on_the_way(request)?;
        if method != Method::GET {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "a websocket handshake is a GET");
        }
        if !lists(headers, UPGRADE, "websocket") || !lists(headers, CONNECTION, "upgrade") {
            return refuse(StatusCode::UPGRADE_REQUIRED, "this address speaks websocket only");
        }
        if headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
            || headers.contains_key(TRANSFER_ENCODING)
        {
            return refuse(StatusCode::BAD_REQUEST, "a websocket handshake has no body");
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return refuse(StatusCode::UPGRADE_REQUIRED, "only websocket version 13 is spoken here");
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
            return refuse(StatusCode::BAD_REQUEST, "sec-websocket-key is not 16 bytes of base64");
        }
        let Ok(accept) = HeaderValue::from_str(&accept_for(key)) else {
            return refuse(StatusCode::BAD_REQUEST, "sec-websocket-key is malformed");
        };
        Ok(Request { accept, offered: elements(headers, SEC_WEBSOCKET_PROTOCOL) })
    }

    /// The subprotocols that the client offers, in its order.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// The answer 101, with the chosen subprotocol if there is one.
    pub fn accept<B: Default>(&self, protocol: Option<&str>) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        // Always valid, since it was in a header of the request.
        if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

/// Checks that no proxy on the way removed parts of a handshake.
///
/// # Errors
/// What that proxy must do.
pub fn lost_on_the_way<B>(request: &hyper::Request<B>) -> Result<(), NotWebsocket> {
    let refuse = |message| Err(NotWebsocket { status: StatusCode::UPGRADE_REQUIRED, message });
    if request.version() < Version::HTTP_11 {
        return refuse(HTTP_1_0);
    }
    let headers = request.headers();
    let is_asked = headers.contains_key(SEC_WEBSOCKET_KEY);
    if is_asked && !(lists(headers, UPGRADE, "websocket") && lists(headers, CONNECTION, "upgrade")) {
        return refuse(NO_UPGRADE);
    }
    Ok(())
}

/// Adds what an answer 426 must carry (RFC 9110 section 15.5.22).
pub fn upgrade_required(headers: &mut HeaderMap) {
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
}

/// The connection after the 101, and the bytes that arrived behind the head of the request.
///
/// # Errors
/// If the connection broke before the answer was sent.
pub async fn socket(upgrade: OnUpgrade) -> anyhow::Result<(Socket, Bytes)> {
    let upgraded = upgrade.await.context("connection ended during the handshake")?;
    into_io(upgraded).context("connection is not one of our sockets")
}

pub(super) fn accept_for(key: &[u8]) -> String {
    let mut text = key.to_vec();
    text.extend_from_slice(GUID.as_bytes());
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

pub(super) fn lists(headers: &HeaderMap, name: hyper::header::HeaderName, value: &str) -> bool {
    elements(headers, name).iter().any(|element| element.eq_ignore_ascii_case(value))
}

/// The elements of a comma-separated header, over all its lines.
fn elements(headers: &HeaderMap, name: hyper::header::HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    let elements = lines.flat_map(|line| line.split(',')).map(str::trim);
    elements.filter(|element| !element.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_is_answered_as_there() {
        assert_eq!(accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
