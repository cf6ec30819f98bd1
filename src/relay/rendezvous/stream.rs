//! One stream of a session, from its claim to its end.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::Rendezvous;
use super::session::Admission;

/// What a client gets: a host's leg, and the stream that it is now part of.
pub struct Linked<H> {
    /// The host's side.
    pub host: H,
    /// The stream; dropping it ends it here.
    pub stream: Stream<H>,
}

/// One open stream of a session. Dropping it ends it; with the last one the session ends.
pub struct Stream<H> {
    pub(super) place: Rendezvous<H>,
    pub(super) admission: Arc<Admission>,
    pub(super) number: u32,
    pub(super) until: Instant,
}

impl<H> Stream<H> {
    /// Number in the session, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The session's hard end.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// What the host was admitted with.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Whether the client may open more, and has to know how.
    pub fn begins_several(&self) -> bool {
        self.number == 1 && self.admission.max_streams > 1
    }
}

impl<H> Drop for Stream<H> {
    fn drop(&mut self) {
        let mut spares = VecDeque::new();
        let mut state = self.place.lock();
        if let Some(session) = state.sessions.get_mut(&self.admission.token) {
            // The same token cannot name another session while this one has an open stream.
            session.open.retain(|number| *number != self.number);
            if session.open.is_empty() {
                spares = std::mem::take(&mut session.parked);
                state.hosts_parked -= spares.len();
            }
            state.end_if_over(&self.admission.token);
        }
        drop(state);
        drop(spares);
    }
}
