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
    /// Answers a request of `peer`.
    fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Response> + Send>>;

    /// Whether it can do its work.
    ///
    /// # Errors
    /// What is wrong.
    fn ready(&self) -> Result<(), String>;
}
