//! A client in the queue of its token.

use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::oneshot;

use super::entries::Entries;
use super::stream::LinkResult;
use protocol::end::End;
use protocol::token::TokenHash;

/// A client's entry in the queue. Dropping it leaves the queue.
pub struct Waiting<H> {
    pub(super) entries: Arc<dyn Entries>,
    pub(super) has_host: bool,
    pub(super) token: TokenHash,
    pub(super) id: u64,
    /// The network that counts it, if it came before its host.
    pub(super) early: Option<IpNet>,
    pub(super) result: oneshot::Receiver<LinkResult<H>>,
}

impl<H> Waiting<H> {
    /// Waits for a host's websocket. `None` if the host left while it was claimed: ask again.
    pub async fn result(&mut self) -> Option<LinkResult<H>> {
        (&mut self.result).await.ok()
    }

    /// Whether a parked host was claimed at once, so that its websocket only has to be handed over.
    pub fn has_host(&self) -> bool {
        self.has_host
    }

    /// Why the client is closed if no host comes in time.
    pub fn timeout_end(&self) -> End {
        match self.entries.has(&self.token) {
            true => End::HostLate,
            false => End::NoHost,
        }
    }
}

impl<H> Drop for Waiting<H> {
    fn drop(&mut self) {
        // A result that was sent and not taken is dropped after this, with its receiver.
        self.entries.leave(&self.token, self.id, self.early);
    }
}
