//! A session: what its host was admitted with, which spares it takes, and who its client is.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::parked::Entry;
use crate::protocol::close::CloseFrame;
use crate::protocol::command::{Code, Refusal};
use crate::protocol::end::End;
use crate::protocol::host::HostId;
use crate::protocol::origin::WebOrigin;
use crate::protocol::profile::Profile;
use crate::protocol::token::{Token, TokenHash};

/// How long after a session's first stream a client may be known by its address alone: SPICE opens all its channels
/// at once, and who comes later may be somebody else behind the same NAT.
const ADDRESS_COUNTS: Duration = Duration::from_secs(60);

/// What a client hears that cannot show that it is the session's.
const NOT_ITS_CLIENT: &str =
    "token already used: later streams are for the client that shows the session's key or cookie";

/// What its client hears when there is nothing more to give.
const USED_UP: &str = "token already used: all streams of its session were given out";

/// What a host may do here: the verified part of its dial.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The session's id.
    pub session: String,
    /// What the client's token hashes to.
    pub token: TokenHash,
    /// The host, for the record.
    pub host: HostId,
    /// The target, for the record; unknown to the relay in simple mode.
    pub target: Option<String>,
    /// Who asked, for the record.
    pub user: Option<String>,
    /// Streams that the session may have in all.
    pub max_streams: u32,
    /// Whether a client that can show nothing may be known by its address.
    pub same_address: bool,
    /// What the session's streams are tuned for.
    pub profile: Profile,
    /// Hard end of the session, from its first stream.
    pub max_time: Duration,
    /// Browser origins that may connect; empty means any.
    pub origins: Vec<WebOrigin>,
    /// How long this session's id is remembered after its end, so that it is used once.
    pub remember: Duration,
}

/// What a dial says of the secret that proves that a spare is of the same host as its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// Nothing: a host of before 0.2.0, whose spares show none.
    Unknown,
    /// The host understands one: this is the session's, should it begin with this dial.
    Offered(TokenHash),
    /// This one.
    Shown(TokenHash),
}

/// Who a client is, as far as a relay can know.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// What limits count by.
    pub bucket: IpAddr,
    /// Its address, where it is its own for certain and not that of a proxy with others behind it.
    pub address: Option<IpAddr>,
    /// Keys and cookies of the session that it shows.
    pub shown: Vec<TokenHash>,
    /// The session's key, should it be the first client.
    pub next: Token,
    /// What a browser says about the page.
    pub origin: Option<WebOrigin>,
}

pub(super) struct Session<H> {
    pub(super) admission: Arc<Admission>,
    /// What spares have to show, where the host understands it.
    secret: Option<TokenHash>,
    pub(super) parked: VecDeque<Entry<H>>,
    /// Streams given out so far.
    pub(super) given: u32,
    /// Numbers of the streams that are open now.
    pub(super) open: Vec<u32>,
    /// Set with the first stream.
    client: Option<Client>,
}

/// The client of a session, as its first stream showed it.
struct Client {
    key: TokenHash,
    address: Option<IpAddr>,
    since: Instant,
    until: Instant,
}

impl<H> Session<H> {
    pub(super) fn new(admission: Admission, secret: Secret) -> Session<H> {
        Session {
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
    pub(super) fn admits(&self, visitor: &Visitor) -> Result<(), CloseFrame> {
        let origins = &self.admission.origins;
        let allowed = |origin: &WebOrigin| origins.contains(origin);
        // Only browsers send one, and only pages in browsers can be made to connect by others.
        if !origins.is_empty() && !visitor.origin.as_ref().is_none_or(allowed) {
            return Err(End::NotAllowed.into());
        }
        if self.left() == 0 {
            return Err(self.used_up());
        }
        if self.client.is_none() || self.is_client(visitor) {
            return Ok(());
        }
        Err(CloseFrame::new(End::TokenUsed, NOT_ITS_CLIENT))
    }

    /// Whether this is who got the first stream.
    pub(super) fn is_client(&self, visitor: &Visitor) -> bool {
        let Some(client) = &self.client else { return false };
        // Hashes are compared: how long it takes says nothing about the key.
        if visitor.shown.contains(&client.key) {
            return true;
        }
        self.admission.same_address
            && visitor.shown.is_empty()
            && visitor.address.is_some()
            && visitor.address == client.address
            && client.since.elapsed() <= ADDRESS_COUNTS
    }

    /// What a client hears when all streams were given out.
    pub(super) fn used_up(&self) -> CloseFrame {
        match self.admission.max_streams {
            1 => End::TokenUsed.into(),
            _ => CloseFrame::new(End::TokenUsed, USED_UP),
        }
    }

    /// Counts a stream for this client: its number, and the session's hard end.
    pub(super) fn give(&mut self, visitor: &Visitor) -> (u32, Instant) {
        self.given += 1;
        self.open.push(self.given);
        let client = self.client.get_or_insert_with(|| {
            let since = Instant::now();
            let until = since + self.admission.max_time;
            Client { key: visitor.next.hash(), address: visitor.address, since, until }
        });
        (self.given, client.until)
    }
}
