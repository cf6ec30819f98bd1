//! What one request did: gathered while it is answered, then reported once, to the audit and the metrics.

use std::net::IpAddr;

use hyper::StatusCode;

use crate::counts::Counts;
use service::audit;
use service::network::{self, SUBSCRIBER};

/// One request. What is not known is left out.
#[derive(Debug, Default)]
pub(crate) struct ApiRecord {
    /// As in the table of routes, or `other`.
    pub action: &'static str,
    /// Whether pages ask for it again and again.
    pub is_polled: bool,
    /// Name of the API key.
    pub key: Option<String>,
    pub host: Option<String>,
    pub target: Option<String>,
    /// Whom the request was made for.
    pub user: Option<String>,
    pub session: Option<String>,
    /// Fingerprint of the token's hash.
    pub token: Option<String>,
}

impl ApiRecord {
    /// Reports how it ended; of those without a key not more often than a [`Throttle`](service::throttle::Throttle)
    /// lets through. `code` is the error code, or `ok`.
    pub(crate) fn report(&self, peer: IpAddr, status: StatusCode, code: &'static str, counts: &Counts) {
        let action = self.action;
        counts.request(action, code);
        if self.key.is_none() && !counts.unknown_peers.admits(network::containing(peer, SUBSCRIBER)) {
            return;
        }
        // The level of an event is part of its call site, so there is a call site for each.
        macro_rules! event {
            ($level:expr) => {
                tracing::event!(
                    target: audit::TARGET,
                    $level,
                    event = "asked",
                    action,
                    status = status.as_u16(),
                    code,
                    key = self.key.as_deref(),
                    peer = %peer,
                    session = self.session.as_deref(),
                    host = self.host.as_deref(),
                    target = self.target.as_deref(),
                    user = self.user.as_deref(),
                    token = self.token.as_deref(),
                    "platform was asked: {action}: {code}"
                )
            };
        }
        match (status.is_success(), self.is_polled) {
            (true, true) => event!(tracing::Level::DEBUG),
            (true, false) => event!(tracing::Level::INFO),
            (false, _) => event!(tracing::Level::WARN),
        }
    }
}
