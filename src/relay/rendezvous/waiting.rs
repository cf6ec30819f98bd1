//! A client's place in the queue.

use std::net::IpAddr;

use tokio::sync::oneshot;

use super::{Answer, Rendezvous};
use crate::protocol::end::End;
use crate::protocol::token::TokenHash;

/// A client's place in the queue. Dropping it leaves the queue.
pub struct Waiting<H> {
    pub(super) place: Rendezvous<H>,
    /// A parked host was claimed at once: its leg is on the way.
    pub(super) is_met: bool,
    pub(super) token: TokenHash,
    pub(super) id: u64,
    /// Where it is counted, if it is.
    pub(super) stranger: Option<IpAddr>,
    pub(super) answer: oneshot::Receiver<Answer<H>>,
}

impl<H> Waiting<H> {
    /// Waits for a host's leg. `None`: the host went away in the moment it was claimed; ask again.
    pub async fn answer(&mut self) -> Option<Answer<H>> {
        (&mut self.answer).await.ok()
    }

    /// Whether a parked host was claimed at once, so that its leg is only to be handed over.
    pub fn is_met(&self) -> bool {
        self.is_met
    }

    /// What to say when nobody came in time.
    pub fn late(&self) -> End {
        match self.place.lock().sessions.contains_key(&self.token) {
            true => End::HostLate,
            false => End::NoHost,
        }
    }
}

impl<H> Drop for Waiting<H> {
    fn drop(&mut self) {
        // An answer that came and was never taken is dropped after this, with its receiver, outside the lock.
        let mut state = self.place.lock();
        state.clients_waiting -= 1;
        if let Some(address) = self.stranger {
            state.strangers.leave(address);
        }
        if let Some(waiters) = state.waiting.get_mut(&self.token) {
            waiters.retain(|waiter| waiter.id != self.id);
            if waiters.is_empty() {
                state.waiting.remove(&self.token);
            }
        }
    }
}
