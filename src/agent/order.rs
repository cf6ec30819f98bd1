//! From a start command to an [`Order`]: what is to be opened, for whom, and with what to dial.
//! Everything in an order has been verified; nothing has been opened yet.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::daemon::audit::{Event, Record};
use crate::link::dial::Address;
use crate::protocol::command::{ANSWER_WITHIN, Code, OpaqueStart, Ordered, Refusal, Start};
use crate::protocol::headers;
use crate::protocol::host::HostId;
use crate::protocol::issuers::Issuers;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;
use crate::protocol::proof;
use crate::protocol::token::TokenHash;

use super::config::{Auth, HostKey, Settings};

/// How long the dial of simple mode is tried: its token has no date.
const OPAQUE_DEADLINE: Duration = Duration::from_secs(30);

/// What one try to dial has at least: a grant may come a moment before its end.
const LEAST: Duration = Duration::from_secs(1);

/// How long a used session of simple mode is remembered.
const OPAQUE_MEMORY: Duration = Duration::from_secs(3600);

/// A verified wish to have a target opened.
pub struct Order {
    /// The session.
    pub session: String,
    /// What to open.
    pub target: String,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// Read-only or read-write.
    pub mode: Option<Mode>,
    /// Upper bound on streams, besides the target's own.
    pub max_streams: Option<u32>,
    /// Hard end of the session, besides our own.
    pub max_time: Option<Duration>,
    /// Until when the relay is tried.
    pub deadline: Instant,
    /// How long the session must not be used again.
    pub remember: Duration,
    /// Who asked.
    pub user: Option<String>,
    /// Hash of the client's token.
    pub token: TokenHash,
}

/// When a command was received, and whether somebody waits for the answer.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// When, on a clock that is never set.
    pub at: Instant,
    /// False for a platform that only publishes.
    pub is_awaited: bool,
}

impl Receipt {
    /// Until when the relay is tried for a command that can be dialled for so long: not for longer than the answer is
    /// of use.
    fn deadline(self, dialled: Duration, answer: Option<Duration>) -> Instant {
        let longest = dialled.max(LEAST);
        self.at + if self.is_awaited { answer.unwrap_or(ANSWER_WITHIN).min(longest) } else { longest }
    }
}

/// What a relay is dialled with; of use only as long as there may be another dial.
pub struct Ticket {
    /// The relay.
    pub relay: Address,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the relay gave with its first answer: spares show it.
    secret: OnceLock<HeaderValue>,
}

/// What the host allows a session, as its dials say.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Streams of the session.
    pub streams: u32,
    /// What the owner tuned the target for.
    pub profile: Profile,
    /// Whether a client that can show nothing may be known by its address.
    pub same_address: bool,
}

impl Ticket {
    fn new(relay: Address, headers: Vec<(HeaderName, HeaderValue)>) -> Ticket {
        Ticket { relay, headers, secret: OnceLock::new() }
    }

    /// The headers of a dial.
    pub fn headers(&self, terms: Terms) -> Vec<(HeaderName, HeaderValue)> {
        let name = HeaderName::from_static;
        let yes = || HeaderValue::from_static(headers::YES);
        let secret = self.secret.get().cloned().unwrap_or_else(yes);
        let mut headers = self.headers.clone();
        headers.push((name(headers::PROFILE), HeaderValue::from_static(terms.profile.label())));
        headers.push((name(headers::MAX_STREAMS), HeaderValue::from(terms.streams)));
        headers.push((name(headers::SESSION_SECRET), secret));
        if terms.same_address && terms.streams > 1 {
            headers.push((name(headers::SAME_ADDRESS), yes()));
        }
        headers
    }

    /// Keeps what the answer to the first dial gives. A relay of before 0.2.0 gives nothing.
    pub fn learn(&self, answer: &HeaderMap) {
        if let Some(secret) = answer.get(headers::SESSION_SECRET) {
            let mut secret = secret.clone();
            secret.set_sensitive(true);
            // Only the first counts.
            let _ = self.secret.set(secret);
        }
    }
}

impl Order {
    /// Verifies a start command; `record` learns what can be believed on the way.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn verify(
        start: Start,
        receipt: Receipt,
        settings: &Settings,
        record: &mut Record,
    ) -> Result<(Order, Ticket), Refusal> {
        let until = |dialled| receipt.deadline(dialled, start.answer_within);
        match (start.order, &settings.auth) {
            (Ordered::Signed(jws), Auth::Signed { issuers, leeway }) => {
                signed(&jws, issuers, *leeway, until, settings, record)
            }
            (Ordered::Opaque(order), Auth::Opaque(key)) => {
                opaque(order, key.expose(), until, settings, record)
            }
            (Ordered::Signed(_), Auth::Opaque(_)) => {
                Err(Refusal::new(Code::WrongAuthMode, "this host is in simple mode and takes no grants"))
            }
            (Ordered::Opaque(_), Auth::Signed { .. }) => {
                Err(Refusal::new(Code::WrongAuthMode, "this host takes signed grants only"))
            }
        }
    }

    /// A record of what became of this order.
    pub fn record(&self, event: Event, host: &HostId) -> Record {
        Record {
            session: Some(self.session.clone()),
            host: Some(host.clone()),
            target: Some(self.target.clone()),
            user: self.user.clone(),
            token: Some(self.token.fingerprint()),
            ..Record::new(event)
        }
    }
}

fn signed(
    jws: &str,
    issuers: &Issuers,
    leeway: Duration,
    until: impl Fn(Duration) -> Instant,
    settings: &Settings,
    record: &mut Record,
) -> Result<(Order, Ticket), Refusal> {
    let grant = issuers.verify(jws)?;
    let claims = grant.claims();
    record.session = Some(claims.sid.clone());
    record.target = Some(claims.target.clone());
    record.user = claims.user.clone();
    record.token = Some(claims.token_sha256.fingerprint());
    grant.check_host(&settings.host)?;
    let now = SystemTime::now();
    grant.check_time(now, leeway)?;
    let mut headers = vec![bearer(grant.jws())?];
    if let Some(HostKey(key)) = &settings.host_key {
        let proof = proof::prove(grant.jws(), key).map_err(|error| {
            Refusal::new(Code::GrantProof, format!("cannot sign with the host's key: {error}"))
        })?;
        headers.push(header(proof::HEADER, &proof)?);
    } else if claims.cnf.is_some() {
        return Err(Refusal::new(
            Code::GrantProof,
            "the grant asks for the host's key: set auth.host_key_file",
        ));
    }
    let ticket = Ticket::new(relay(&claims.relay, settings)?, headers);
    let order = Order {
        session: claims.sid.clone(),
        target: claims.target.clone(),
        params: claims.params.clone(),
        mode: claims.mode,
        max_streams: claims.max_streams,
        max_time: claims.max_seconds.map(Duration::from_secs),
        deadline: until(grant.time_left(now)),
        remember: crate::protocol::grant::MAX_LIFETIME + leeway + leeway,
        user: claims.user.clone(),
        token: claims.token_sha256,
    };
    Ok((order, ticket))
}

fn opaque(
    start: OpaqueStart,
    relay_key: &str,
    until: impl Fn(Duration) -> Instant,
    settings: &Settings,
    record: &mut Record,
) -> Result<(Order, Ticket), Refusal> {
    let token = start.token.hash();
    record.session = Some(token.session());
    record.target = Some(start.target.clone());
    record.user = start.user.clone();
    record.token = Some(token.fingerprint());
    let mut headers = vec![
        bearer(&start.token.reveal())?,
        header(headers::HOST, settings.host.as_str())?,
        header(headers::RELAY_KEY, relay_key)?,
    ];
    if let Some(seconds) = start.max_seconds {
        headers.push((HeaderName::from_static(headers::MAX_SECONDS), HeaderValue::from(seconds)));
    }
    let ticket = Ticket::new(relay(&start.relay, settings)?, headers);
    let order = Order {
        session: token.session(),
        target: start.target,
        params: start.params,
        mode: start.mode,
        max_streams: start.max_streams,
        max_time: start.max_seconds.map(Duration::from_secs),
        deadline: until(OPAQUE_DEADLINE),
        remember: OPAQUE_MEMORY,
        user: start.user,
        token,
    };
    Ok((order, ticket))
}

/// Only relays on the host's own list are dialled, whatever a grant says.
fn relay(url: &str, settings: &Settings) -> Result<Address, Refusal> {
    let address = Address::of(url).map_err(|error| Refusal::new(Code::RelayNotAllowed, error.to_string()))?;
    let allows = |allowed: &String| Address::of(allowed).is_ok_and(|allowed| allowed.leads_to(&address));
    if !settings.relays.iter().any(allows) {
        return Err(Refusal::new(
            Code::RelayNotAllowed,
            "the relay is not on this host's list (relay.allow)",
        ));
    }
    Ok(address.below(headers::HOST_PATH))
}

fn bearer(secret: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    header(AUTHORIZATION.as_str(), &format!("Bearer {secret}"))
}

fn header(name: &'static str, value: &str) -> Result<(HeaderName, HeaderValue), Refusal> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Refusal::new(Code::BadCommand, format!("{name} would not be a valid header")))?;
    value.set_sensitive(true);
    Ok((HeaderName::from_static(name), value))
}
