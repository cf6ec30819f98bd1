//! What answers below `/api/`, as the relay knows it.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use http1::server::response::Response;

/// Where the platform's API begins.
pub const API_PATH: &str = "/api/";

/// Whatever answers below [`API_PATH`]: the bundled platform, put there by the program.
pub trait Api: Send + Sync {
    /// Answers a request of the client at `address`. `may_be_proxy`: many may have this address, since it may be that of
    /// a proxy outside `trusted_proxies`.
    fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        address: IpAddr,
        may_be_proxy: bool,
    ) -> Pin<Box<dyn Future<Output = Response> + Send>>;

    /// Whether it can do its work.
    ///
    /// # Errors
    /// What is wrong.
    fn ready(&self) -> Result<(), String>;
}
