//! The rendezvous as the guards of its entries know it.

use ipnet::IpNet;

use protocol::token::TokenHash;

/// What guards call when they are dropped. A trait, so that the type of a host's websocket is not in their types.
pub(super) trait Entries: Send + Sync {
    /// A parked host has gone.
    fn unpark(&self, token: &TokenHash, id: u64);

    fn close(&self, token: &TokenHash, number: u32);

    /// A client waits no longer; `early` is the network that counted it, if it came before its host.
    fn leave(&self, token: &TokenHash, id: u64, early: Option<IpNet>);

    /// Whether the session of this token is here.
    fn has(&self, token: &TokenHash) -> bool;
}
