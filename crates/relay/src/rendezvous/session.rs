//! A session: which spares it takes, and which client is its own.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::{Admission, ClientIdentity, Secret};
use super::parked::ParkedEntry;
use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal};
use protocol::end::End;
use protocol::origin::WebOrigin;
use protocol::token::TokenHash;

/// How long after a session's first stream its client is recognised by its address alone: SPICE opens all its
/// channels at once, and a later client may be another one behind the same NAT.
const ADDRESS_COUNTS: Duration = Duration::from_secs(60);

/// The close reason for a client that does not show that it is the session's.
const NOT_ITS_CLIENT: &str =
    "token already used: later streams are for the client that shows the session's key or cookie";

/// The close reason for the session's own client when no stream is left.
const USED_UP: &str = "token already used: all streams of its session were given out";

pub(super) struct SessionEntry<H> {
    pub(super) admission: Arc<Admission>,
    /// What spares have to show; `None` for a host before 0.2.0.
    secret: Option<TokenHash>,
    pub(super) parked: VecDeque<ParkedEntry<H>>,
    /// Streams given out so far.
    pub(super) given: u32,
    /// Numbers of the streams that are open now.
    pub(super) open: Vec<u32>,
    /// Set with the first stream.
    client: Option<FirstClient>,
}

/// The client of a session, as it was at the first stream.
struct FirstClient {
    key: TokenHash,
    address: Option<IpAddr>,
    since: Instant,
    until: Instant,
}

impl<H> SessionEntry<H> {
    pub(super) fn new(admission: Admission, secret: Secret) -> SessionEntry<H> {
        SessionEntry {
            admission: Arc::new(admission),
            secret: match secret {
                Secret::Unknown => None,
                Secret::Offered(secret) | Secret::Shown(secret) => Some(secret),
            },
            parked: VecDeque::new(),
            given: 0,
            open: vec![],
            client: None,
        }
    }

    /// Whether a host that dials for this session may park another connection.
    pub(super) fn takes_spare(&self, admission: &Admission, secret: Secret) -> Result<(), Refusal> {
        let refused = |why: &str| Err(Refusal::new(Code::GrantReplayed, why));
        if self.admission.session != admission.session {
            return refused("another session has this token");
        }
        if self.given == 0 {
            return refused("this session is parked already");
        }
        if self.secret.is_some_and(|expected| secret != Secret::Shown(expected)) {
            return refused("this session is live: further connections of its host show its secret");
        }
        if self.parked.len() >= self.left() {
            return refused("this session has all its streams");
        }
        Ok(())
    }

    /// Streams that may still be given out.
    pub(super) fn left(&self) -> usize {
        self.admission.max_streams.saturating_sub(self.given) as usize
    }

    /// Whether a client may have a stream.
    pub(super) fn admits(&self, client: &ClientIdentity, now: Instant) -> Result<(), CloseFrame> {
        let origins = &self.admission.origins;
        let allowed = |origin: &WebOrigin| origins.contains(origin);
        // Only browsers send an origin, and only a browser can be made to connect by a foreign page.
        if !origins.is_empty() && !client.origin.as_ref().is_none_or(allowed) {
            return Err(End::NotAllowed.into());
        }
        if self.left() == 0 {
            return Err(self.used_up());
        }
        if self.client.is_none() || self.is_client(client, now) {
            return Ok(());
        }
        Err(CloseFrame::new(End::TokenUsed, NOT_ITS_CLIENT))
    }

    /// Whether this client got the first stream.
    pub(super) fn is_client(&self, client: &ClientIdentity, now: Instant) -> bool {
        let Some(first) = &self.client else { return false };
        // Hashes are compared: how long it takes says nothing about the key.
        if client.shown.contains(&first.key) {
            return true;
        }
        self.admission.same_address
            && client.shown.is_empty()
            && client.address.is_some()
            && client.address == first.address
            && now.saturating_duration_since(first.since) <= ADDRESS_COUNTS
    }

    /// Why a client is closed when all streams were given out.
    pub(super) fn used_up(&self) -> CloseFrame {
        match self.admission.max_streams {
            1 => End::TokenUsed.into(),
            _ => CloseFrame::new(End::TokenUsed, USED_UP),
        }
    }

    /// Counts a stream for this client: its number, and the session's hard end.
    pub(super) fn give(&mut self, client: &ClientIdentity, now: Instant) -> (u32, Instant) {
        self.given += 1;
        self.open.push(self.given);
        let first = self.client.get_or_insert_with(|| {
            let until = now + self.admission.max_time;
            FirstClient { key: client.new_key.hash(), address: client.address, since: now, until }
        });
        (self.given, first.until)
    }
}
