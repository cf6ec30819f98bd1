//! A parked host, and the claim that takes it out.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::admission::Admission;
use super::entries::Entries;
use super::stream::{LinkResult, Linked, Stream};

/// A parked host's entry. Dropping it takes the host out.
pub struct Parked<H> {
    pub(super) entries: Arc<dyn Entries>,
    pub(super) admission: Arc<Admission>,
    pub(super) is_spare: bool,
    pub(super) id: u64,
    pub(super) claimed: oneshot::Receiver<Claim<H>>,
}

/// The session's side of a [`Parked`].
pub(super) struct ParkedEntry<H> {
    pub(super) id: u64,
    pub(super) claim: oneshot::Sender<Claim<H>>,
}

/// A client that a host was given to. The host's task uses it to hand over the websocket.
pub struct Claim<H> {
    pub(super) stream: Stream,
    pub(super) result: oneshot::Sender<LinkResult<H>>,
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
        // A claim that was sent and never taken is dropped after this, with its receiver.
        self.entries.unpark(&self.admission.token, self.id);
    }
}

impl<H> Claim<H> {
    /// Hands the host's websocket to the client.
    ///
    /// # Errors
    /// Returns the websocket if the client has left meanwhile.
    pub fn hand_over(self, host: H) -> Result<(), H> {
        let linked = Linked { host, stream: self.stream };
        self.result.send(Ok(linked)).map_err(|returned| match returned {
            Ok(linked) => linked.host,
            // `Ok` was sent.
            Err(_) => unreachable!("the result of a claim is a websocket"),
        })
    }
}
