//! One file as it is served: its bytes in every coding that there is, and its headers.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, StatusCode};

use super::coding::{self, Coding};
use super::etag;
use crate::server::connection::TakeWithin;
use crate::server::response::{self, Response};

/// How long a client may take to read a file: one of 150 KiB takes this long at 20 kbit/s.
const TAKE: TakeWithin = TakeWithin(Duration::from_secs(60));

/// The bytes of a file in one coding.
struct Body {
    coding: Coding,
    bytes: Bytes,
    tag: HeaderValue,
}

/// A file, or a page that was filled in.
pub struct Asset {
    headers: HeaderMap,
    /// The one with [`Coding::Identity`] is first.
    bodies: Vec<Body>,
}

impl Asset {
    /// Something of this type, with its digest. Clients ask each time whether it is still the same.
    pub fn new(content_type: HeaderValue, digest: &str, bytes: impl Into<Bytes>) -> Asset {
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, content_type),
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ]);
        let identity = Body { coding: Coding::Identity, bytes: bytes.into(), tag: etag::strong(digest) };
        Asset { headers, bodies: vec![identity] }
    }

    /// Adds the same bytes in another coding.
    pub(super) fn push(&mut self, coding: Coding, bytes: Bytes) {
        let tag = etag::strong(&etag::digest([&bytes[..]]));
        self.bodies.push(Body { coding, bytes, tag });
    }

    /// Headers that every response has; one of the same name is replaced.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Whether a browser would show it as a page.
    pub fn is_page(&self) -> bool {
        let content_type = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        content_type.to_ascii_lowercase().starts_with(b"text/html")
    }

    /// The text of a page that is to be filled in.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bodies.first()?.bytes).ok()
    }

    /// Answers GET and HEAD, and with 304 a client that has it already. Ranges are not served.
    pub fn respond<B>(&self, request: &Request<B>) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed();
        }
        let coding = coding::choose(request.headers(), self.bodies.iter().map(|body| body.coding));
        let Some(body) = self.bodies.iter().find(|body| body.coding == coding) else {
            return response::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "nothing to send");
        };
        let mut response = Response::new(Full::default());
        response.extensions_mut().insert(TAKE);
        let headers = response.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(ETAG, body.tag.clone());
        if self.bodies.len() > 1 {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if etag::is_shown(request.headers(), &body.tag) {
            headers.remove(CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        if let Some(name) = coding.name() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        // Of the response to HEAD, hyper sends only the length.
        *response.body_mut() = Full::new(body.bytes.clone());
        response
    }
}

/// The answer to a method other than GET and HEAD.
pub fn not_allowed() -> Response {
    let why = "only GET and HEAD are answered here";
    let mut response = response::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", why);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
