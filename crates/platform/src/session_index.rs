//! The sessions that were opened here or seen on NATS: what each opens, whether it goes on, and how it ended.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use protocol::host::HostId;
use protocol::mode::Mode;
use protocol::name::shown;
use protocol::token::{Token, TokenHash};

use super::changes::{Change, Changes};
use super::numbers::Numbers;
use super::policy::ApiKey;
use super::stream_event::{Kind, StreamEvent};

use order::Order;

mod order;

/// Parameters of a session that are remembered, in bytes.
const MAX_PARAMS: usize = 2048;

/// How long after its last event a session that the relay does not have any more is taken for ended: its record may
/// still be on the way.
const GRACE: Duration = Duration::from_secs(10);

/// How long a session of another platform may be silent before it is taken for ended: its last record was lost.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

/// The sessions that are remembered. A request that ends an older one must name its host.
pub(crate) struct SessionIndex {
    state: Mutex<State>,
    changes: Arc<Changes>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, Session>,
    order: Order,
    numbers: Numbers,
}

/// One session. What is not known is left out.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub host: HostId,
    /// Name of the target on that host.
    pub target: String,
    pub params: BTreeMap<String, String>,
    pub mode: Option<Mode>,
    pub user: Option<String>,
    /// What this platform knows of a session of its own.
    pub own: Option<Own>,
    pub created: SystemTime,
    pub started: Option<SystemTime>,
    pub ended: Option<SystemTime>,
    /// Streams that have started.
    pub streams: u32,
    /// Streams that have not ended.
    open: u32,
    /// Address of the client that came last.
    pub peer: Option<IpAddr>,
    /// Of the streams that have ended.
    pub bytes: Option<(u64, u64)>,
    /// Close code of the last stream that ended or was refused.
    pub code: Option<u16>,
    number: u64,
    heard: Instant,
}

/// What only the platform that opened a session knows.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// Name of the API key.
    pub key: String,
    token: TokenHash,
    /// For a viewer's file, until a client has come.
    secret: Option<Token>,
    /// Until then the host waits for the client.
    wait: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The host waits for a client.
    Waiting,
    Open,
    Ended,
}

/// Which sessions to list.
#[derive(Debug, Default)]
pub(crate) struct SessionQuery {
    /// Not those that have ended.
    pub only_live: bool,
    /// Only those that are older than the one with this number.
    pub after: Option<u64>,
    pub limit: usize,
}

impl Session {
    /// A session of the key with this name, whose host waits for a client.
    pub(crate) fn waiting(host: HostId, target: String, key: &str, token: Token, wait: Duration) -> Session {
        let own = Own {
            key: key.to_owned(),
            token: token.hash(),
            secret: Some(token),
            wait: Instant::now() + wait,
        };
        Session { own: Some(own), ..Session::seen(host, target, SystemTime::now()) }
    }

    fn seen(host: HostId, target: String, created: SystemTime) -> Session {
        Session {
            host,
            target,
            params: BTreeMap::new(),
            mode: None,
            user: None,
            own: None,
            created,
            started: None,
            ended: None,
            streams: 0,
            open: 0,
            peer: None,
            bytes: None,
            code: None,
            number: 0,
            heard: Instant::now(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match (self.ended, self.started) {
            (Some(_), _) => Phase::Ended,
            (None, Some(_)) => Phase::Open,
            (None, None) => Phase::Waiting,
        }
    }

    /// Whether the key may see it and end it.
    pub(crate) fn is_for(&self, key: &ApiKey) -> bool {
        key.may_end(&self.host, &self.target, self.own.is_some())
    }

    /// That it has changed.
    fn change(&self) -> Change {
        Change::Session { host: self.host.clone(), target: self.target.clone(), is_own: self.own.is_some() }
    }

    /// Its host, if only that has reported it.
    fn seen_on(&self) -> Option<&HostId> {
        self.own.is_none().then_some(&self.host)
    }

    /// The token, if no client has come yet.
    pub(crate) fn unused_token(&self) -> Option<&Token> {
        let own =
            self.own.as_ref().filter(|own| self.phase() == Phase::Waiting && Instant::now() < own.wait)?;
        own.secret.as_ref()
    }

    fn receive(&mut self, event: StreamEvent) {
        let at = event.at();
        self.heard = Instant::now();
        // A client has come: the token is used.
        self.forget_secret();
        self.mode = event.mode.or(self.mode);
        self.peer = event.peer.or(self.peer);
        match event.kind {
            Kind::Started => {
                self.streams = self.streams.saturating_add(1);
                self.open = self.open.saturating_add(1);
                self.started.get_or_insert(at);
                (self.ended, self.code) = (None, None);
            }
            Kind::Ended => {
                self.streams = self.streams.max(1);
                self.open = self.open.saturating_sub(1);
                let (before_in, before_out) = self.bytes.unwrap_or_default();
                self.bytes = Some((
                    before_in.saturating_add(event.bytes_in),
                    before_out.saturating_add(event.bytes_out),
                ));
                self.code = event.code;
            }
            Kind::Refused if self.open == 0 => self.code = event.code,
            Kind::Refused => {}
        }
        if event.kind != Kind::Started && self.open == 0 {
            self.ended = Some(at);
        }
    }

    fn forget_secret(&mut self) {
        if let Some(own) = &mut self.own {
            own.secret = None;
        }
    }

    /// Whether what the relay knows is newer than what hosts have reported.
    fn correct(&mut self, is_open: &impl Fn(&TokenHash) -> bool) -> bool {
        let (now, clock, phase) = (Instant::now(), SystemTime::now(), self.phase());
        let silent = now.saturating_duration_since(self.heard);
        match (&self.own, phase) {
            (_, Phase::Ended) => return false,
            (Some(own), Phase::Waiting) if now < own.wait => return false,
            (Some(own), Phase::Waiting) if is_open(&own.token) => self.started = Some(clock),
            (Some(_), Phase::Waiting) => self.ended = Some(clock),
            (Some(own), Phase::Open) if silent >= GRACE && !is_open(&own.token) => self.ended = Some(clock),
            (None, _) if silent >= SILENCE => self.ended = Some(clock),
            _ => return false,
        }
        self.forget_secret();
        true
    }
}

impl SessionIndex {
    pub(crate) fn new(changes: Arc<Changes>) -> SessionIndex {
        SessionIndex { state: Mutex::default(), changes }
    }

    /// Adds a session of this platform.
    pub(crate) fn insert(&self, id: &str, session: Session) {
        let change = session.change();
        self.lock().insert(id, session);
        self.changes.add(change);
    }

    /// Takes over what a host says of a session. A host can say nothing of another host's.
    pub(crate) fn receive(&self, event: StreamEvent) {
        let (id, host) = (event.session.clone(), event.host.clone());
        let mut state = self.lock();
        if !state.sessions.contains_key(&id) {
            let mut seen = Session::seen(host.clone(), shown(&event.target).into_owned(), event.at());
            seen.user = event.user.as_deref().map(|user| shown(user).into_owned());
            let size: usize = event.params.iter().map(|(name, value)| name.len() + value.len()).sum();
            if size <= MAX_PARAMS {
                seen.params = event.params.clone();
            }
            state.insert(&id, seen);
        }
        if let Some(session) = state.sessions.get_mut(&id).filter(|session| session.host == host) {
            session.receive(event);
            self.changes.add(session.change());
        }
    }

    /// A session, if it is still remembered.
    pub(crate) fn find(&self, id: &str) -> Option<Session> {
        self.lock().sessions.get(id).cloned()
    }

    /// The sessions that the key may end, the newest first, and the number to go on with if there are more.
    pub(crate) fn list(&self, key: &ApiKey, query: &SessionQuery) -> (Vec<(String, Session)>, Option<u64>) {
        let state = self.lock();
        let ids = state.order.before(query.after.unwrap_or(u64::MAX));
        let sessions = ids.filter_map(|id| Some((id, state.sessions.get(id)?)));
        let is_asked = |session: &Session| !query.only_live || session.phase() != Phase::Ended;
        let mut list = Vec::new();
        for (id, session) in sessions.filter(|(_, session)| is_asked(session) && session.is_for(key)) {
            if list.len() == query.limit {
                let next = list.last().map(|(_, session): &(String, Session)| session.number);
                return (list, next);
            }
            list.push((id.clone(), session.clone()));
        }
        (list, None)
    }

    /// Corrects sessions whose records did not come. `is_open` says whether the relay has the session of a token.
    pub(crate) fn sweep(&self, is_open: impl Fn(&TokenHash) -> bool) {
        for session in self.lock().sessions.values_mut() {
            if session.correct(&is_open) {
                self.changes.add(session.change());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, id: &str, session: Session) {
        let number = self.numbers.next();
        self.order.insert(number, id, session.seen_on());
        let session = Session { number, ..session };
        if let Some(old) = self.sessions.insert(id.to_owned(), session) {
            self.order.remove(old.number, old.seen_on());
        }
        let has_ended =
            |id: &str| self.sessions.get(id).is_none_or(|session| session.phase() == Phase::Ended);
        if let Some(number) = self.order.too_many(has_ended) {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(session) = self.order.id(number).and_then(|id| self.sessions.remove(id)) else { return };
        self.order.remove(number, session.seen_on());
    }
}

#[cfg(test)]
mod tests;
