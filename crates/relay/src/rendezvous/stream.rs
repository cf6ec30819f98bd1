//! One stream of a session, from its claim to its end.

use std::sync::Arc;
use std::time::Instant;

use super::admission::Admission;
use super::entries::Entries;
use protocol::close::CloseFrame;

/// What a waiting client gets: a host, or why not.
pub(super) type LinkResult<H> = Result<Linked<H>, CloseFrame>;

/// A host's websocket, and the stream that it is now part of.
pub struct Linked<H> {
    pub host: H,
    /// The stream; dropping it ends it here.
    pub stream: Stream,
}

/// One open stream of a session. Dropping it ends it; with the last one the session ends.
pub struct Stream {
    pub(super) entries: Arc<dyn Entries>,
    pub(super) admission: Arc<Admission>,
    pub(super) number: u32,
    pub(super) until: Instant,
}

impl Stream {
    /// Number in the session, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The hard end of its session.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// What the host was admitted with.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Whether this is the first stream of a session of several, so that the client needs the session's key.
    pub fn begins_several(&self) -> bool {
        self.number == 1 && self.admission.max_streams > 1
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.entries.close(&self.admission.token, self.number);
    }
}
