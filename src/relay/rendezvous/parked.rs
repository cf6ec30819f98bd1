//! A parked host's place, and the claim that takes it out.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::session::Admission;
use super::stream::{Linked, Stream};
use super::{Answer, Rendezvous};

/// A parked host's place. Dropping it takes the host out.
pub struct Parked<H> {
    pub(super) place: Rendezvous<H>,
    pub(super) admission: Arc<Admission>,
    pub(super) is_spare: bool,
    pub(super) id: u64,
    pub(super) claimed: oneshot::Receiver<Claim<H>>,
}

/// The same, as its session sees it.
pub(super) struct Entry<H> {
    pub(super) id: u64,
    pub(super) claim: oneshot::Sender<Claim<H>>,
}

/// The handle of a client that is given to a host: whoever holds it can hand over the leg.
pub struct Claim<H> {
    pub(super) stream: Stream<H>,
    pub(super) client: oneshot::Sender<Answer<H>>,
}

impl<H> Parked<H> {
    /// Waits for a client. `None`: the session is over.
    pub async fn claimed(&mut self) -> Option<Claim<H>> {
        (&mut self.claimed).await.ok()
    }

    /// Whether this is a spare of a session that already has streams.
    pub fn is_spare(&self) -> bool {
        self.is_spare
    }

    /// What the host was admitted with.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }
}

impl<H> Drop for Parked<H> {
    fn drop(&mut self) {
        // A claim that was sent and never taken is dropped after this, with its receiver, outside the lock.
        let mut state = self.place.lock();
        if let Some(session) = state.sessions.get_mut(&self.admission.token) {
            let before = session.parked.len();
            session.parked.retain(|entry| entry.id != self.id);
            let left = before - session.parked.len();
            state.hosts_parked -= left;
            state.end_if_over(&self.admission.token);
        }
    }
}

impl<H> Claim<H> {
    /// Hands the host's leg to the client.
    ///
    /// # Errors
    /// The leg comes back when the client has left meanwhile.
    pub fn hand_over(self, host: H) -> Result<(), H> {
        let linked = Linked { host, stream: self.stream };
        self.client.send(Ok(linked)).map_err(|answer| match answer {
            Ok(linked) => linked.host,
            // What was sent was `Ok`.
            Err(_) => unreachable!("a claim is answered with a leg"),
        })
    }
}
