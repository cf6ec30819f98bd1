//! Where hosts and clients find each other: parked hosts, waiting clients, and what a session may still do.
//!
//! No sockets in here: a host's leg is any `H`, and it only passes through. Every entry leaves by
//! its own guard, and a claim takes its entry out, so that a parked host serves exactly one client.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::protocol::command::{Code, Refusal};
use crate::protocol::end::End;
use crate::protocol::host::HostId;
use crate::protocol::profile::Profile;
use crate::protocol::token::TokenHash;

/// How many may be here at once.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Parked hosts, and as many waiting clients, on the whole relay.
    pub waiting: usize,
    /// Waiting clients of one address.
    pub waiting_per_address: usize,
}

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
    /// What the session's streams are tuned for.
    pub profile: Profile,
    /// Hard end of the session, from its first stream.
    pub max_time: Duration,
    /// Browser origins that may connect; empty means any.
    pub origins: Vec<String>,
    /// How long this session's id is remembered after its end, so that it is used once.
    pub remember: Duration,
}

/// Who a client is, as far as a relay can know.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Its address.
    pub address: IpAddr,
    /// The session cookie that it presented.
    pub cookie: Option<String>,
    /// The session cookie that it has from now on.
    pub next_cookie: String,
    /// What a browser says about the page.
    pub origin: Option<String>,
}

/// What a client gets: a host's leg, and the stream that it is now part of.
pub struct Linked<H> {
    /// The host's side.
    pub host: H,
    /// The stream; dropping it ends it here.
    pub stream: Stream<H>,
}

type Answer<H> = Result<Linked<H>, End>;

/// The meeting place. Clones are the same place.
pub struct Rendezvous<H> {
    state: Arc<Mutex<State<H>>>,
    caps: Caps,
}

struct State<H> {
    sessions: HashMap<TokenHash, Session<H>>,
    /// Session ids that were used, until when they are remembered.
    spent: HashMap<String, Instant>,
    waiting: HashMap<TokenHash, VecDeque<Waiter<H>>>,
    waiting_by_address: HashMap<IpAddr, usize>,
    clients_waiting: usize,
    hosts_parked: usize,
    next_id: u64,
}

struct Session<H> {
    admission: Arc<Admission>,
    parked: VecDeque<Entry<H>>,
    /// Streams given out so far.
    given: u32,
    /// Numbers of the streams that are open now.
    open: Vec<u32>,
    /// Set with the first stream.
    bound: Option<Bound>,
}

struct Bound {
    cookie: String,
    address: IpAddr,
    until: Instant,
}

struct Entry<H> {
    id: u64,
    claim: oneshot::Sender<Claim<H>>,
}

/// The handle of a client that is given to a host: whoever holds it can hand over the leg.
pub struct Claim<H> {
    stream: Stream<H>,
    client: oneshot::Sender<Answer<H>>,
}

struct Waiter<H> {
    id: u64,
    visitor: Visitor,
    client: oneshot::Sender<Answer<H>>,
}

impl<H> Clone for Rendezvous<H> {
    fn clone(&self) -> Rendezvous<H> {
        Rendezvous { state: self.state.clone(), caps: self.caps }
    }
}

impl<H> Rendezvous<H> {
    /// An empty place.
    pub fn new(caps: Caps) -> Rendezvous<H> {
        let state = State {
            sessions: HashMap::new(),
            spent: HashMap::new(),
            waiting: HashMap::new(),
            waiting_by_address: HashMap::new(),
            clients_waiting: 0,
            hosts_parked: 0,
            next_id: 0,
        };
        Rendezvous { state: Arc::new(Mutex::new(state)), caps }
    }

    /// Whether this session is known and still open, so that a spare may come with an old grant.
    pub fn is_live(&self, token: &TokenHash, session: &str) -> bool {
        self.lock()
            .sessions
            .get(token)
            .is_some_and(|live| live.admission.session == session && live.given > 0)
    }

    /// Whether the session of this token is here: its host parked, or a stream open.
    pub fn has(&self, token: &TokenHash) -> bool {
        self.lock().sessions.contains_key(token)
    }

    /// Parks a host. A client that already waits gets it at once.
    ///
    /// # Errors
    /// [`Code::GrantReplayed`] for a session that is over, has all its streams or is parked already;
    /// [`Code::Busy`] when the relay is full.
    pub fn park(&self, admission: Admission) -> Result<Parked<H>, Refusal> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.spent.len() > 2 * self.caps.waiting {
            state.spent.retain(|_, until| *until > now);
        }
        if state.spent.get(&admission.session).is_some_and(|until| *until > now) {
            return Err(Refusal::new(Code::GrantReplayed, "this session is over"));
        }
        if state.hosts_parked >= self.caps.waiting {
            return Err(Refusal::new(Code::Busy, format!("{} hosts are parked here", self.caps.waiting)));
        }
        let token = admission.token;
        if let Some(session) = state.sessions.get(&token) {
            if session.admission.session != admission.session {
                return Err(Refusal::new(Code::GrantReplayed, "another session has this token"));
            }
            if session.given == 0 {
                return Err(Refusal::new(Code::GrantReplayed, "this session is parked already"));
            }
            if session.given as usize + session.parked.len() >= session.admission.max_streams as usize {
                return Err(Refusal::new(Code::GrantReplayed, "this session has all its streams"));
            }
        }
        let id = state.next_id();
        state.hosts_parked += 1;
        let (claim, claimed) = oneshot::channel();
        let fresh = || Session {
            admission: Arc::new(admission),
            parked: VecDeque::new(),
            given: 0,
            open: vec![],
            bound: None,
        };
        let session = state.sessions.entry(token).or_insert_with(fresh);
        let admission = session.admission.clone();
        session.parked.push_back(Entry { id, claim });
        while let Some(waiter) = state.next_waiter(&token) {
            // This host's receiver is still in our hands, so the claim cannot come back.
            if let Served::Given(_) = self.serve(&mut state, &token, waiter) {
                break;
            }
        }
        drop(state);
        Ok(Parked { place: self.clone(), admission, id, claimed })
    }

    /// Presents a client's token. The answer comes when a host is there.
    ///
    /// # Errors
    /// What is known at once: [`End::TooMany`], [`End::NotAllowed`], [`End::TokenUsed`].
    pub fn claim(&self, token: TokenHash, visitor: Visitor) -> Result<Waiting<H>, End> {
        let mut state = self.lock();
        let (client, answer) = oneshot::channel();
        let id = state.next_id();
        let address = visitor.address;
        if let Some(session) = state.sessions.get(&token) {
            session.admits(&visitor)?;
        }
        let here = state.waiting_by_address.get(&address).copied().unwrap_or(0);
        if state.clients_waiting >= self.caps.waiting || here >= self.caps.waiting_per_address {
            return Err(End::TooMany);
        }
        state.clients_waiting += 1;
        *state.waiting_by_address.entry(address).or_default() += 1;
        let waiter = Waiter { id, visitor, client };
        let is_parked = state.sessions.get(&token).is_some_and(|session| !session.parked.is_empty());
        let served = if is_parked {
            self.serve(&mut state, &token, waiter)
        } else {
            state.waiting.entry(token).or_default().push_back(waiter);
            Served::TurnedAway
        };
        drop(state);
        // A claim that came back ends its stream, which locks the place: only now.
        drop(served);
        Ok(Waiting { place: self.clone(), is_met: is_parked, token, id, address, answer })
    }

    /// Hosts that are parked and clients that wait, now.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.hosts_parked, state.clients_waiting)
    }

    /// Gives the longest parked host of a session to a client.
    fn serve(&self, state: &mut State<H>, token: &TokenHash, waiter: Waiter<H>) -> Served<H> {
        let Some(session) = state.sessions.get_mut(token) else { return Served::TurnedAway };
        if let Err(end) = session.admits(&waiter.visitor) {
            // A client that is gone does not need to know.
            let _ = waiter.client.send(Err(end));
            return Served::TurnedAway;
        }
        if waiter.client.is_closed() {
            return Served::TurnedAway;
        }
        let Some(entry) = session.parked.pop_front() else { return Served::TurnedAway };
        session.given += 1;
        session.open.push(session.given);
        let bound = session.bound.get_or_insert_with(|| Bound {
            cookie: waiter.visitor.next_cookie.clone(),
            address: waiter.visitor.address,
            until: Instant::now() + session.admission.max_time,
        });
        let stream = Stream {
            place: self.clone(),
            admission: session.admission.clone(),
            number: session.given,
            until: bound.until,
        };
        state.hosts_parked -= 1;
        let claim = Claim { stream, client: waiter.client };
        // A host that has just gone gives the claim back: its client hears of it and asks again.
        Served::Given(entry.claim.send(claim).err())
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        // No code panics while holding it; should one, the counts may be off but entries are whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a client that met a parked host.
enum Served<H> {
    /// It may not have it, or is gone: the host is still free.
    TurnedAway,
    /// It got the host; a claim that could not be delivered must be dropped outside the lock.
    Given(#[allow(dead_code, reason = "held so that it is dropped at the right moment")] Option<Claim<H>>),
}

impl<H> State<H> {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn next_waiter(&mut self, token: &TokenHash) -> Option<Waiter<H>> {
        let waiters = self.waiting.get_mut(token)?;
        let waiter = waiters.pop_front();
        if waiters.is_empty() {
            self.waiting.remove(token);
        }
        waiter
    }

    /// Ends a session that has nothing left: its spares go, and its id is spent.
    fn end_if_over(&mut self, token: &TokenHash) {
        let Some(session) = self.sessions.get(token) else { return };
        let was_used = session.given > 0;
        if !session.open.is_empty() || (!was_used && !session.parked.is_empty()) {
            return;
        }
        let Some(session) = self.sessions.remove(token) else { return };
        self.hosts_parked -= session.parked.len();
        if was_used {
            let until = Instant::now() + session.admission.remember;
            self.spent.insert(session.admission.session.clone(), until);
        }
    }
}

impl<H> Session<H> {
    fn admits(&self, visitor: &Visitor) -> Result<(), End> {
        let origins = &self.admission.origins;
        let allowed = |origin: &String| origins.iter().any(|allowed| allowed == origin);
        if !origins.is_empty() && !visitor.origin.as_ref().is_some_and(allowed) {
            return Err(End::NotAllowed);
        }
        if self.given >= self.admission.max_streams {
            return Err(End::TokenUsed);
        }
        match (&self.bound, &visitor.cookie) {
            (None, _) => Ok(()),
            (Some(bound), Some(cookie)) if bound.cookie == *cookie => Ok(()),
            (Some(bound), None) if bound.address == visitor.address => Ok(()),
            _ => Err(End::TokenUsed),
        }
    }
}

/// A parked host's place. Dropping it takes the host out.
pub struct Parked<H> {
    place: Rendezvous<H>,
    admission: Arc<Admission>,
    id: u64,
    claimed: oneshot::Receiver<Claim<H>>,
}

impl<H> Parked<H> {
    /// Waits for a client. `None`: the session is over.
    pub async fn claimed(&mut self) -> Option<Claim<H>> {
        (&mut self.claimed).await.ok()
    }

    /// Whether this is a spare of a session that already has streams.
    pub fn is_spare(&self) -> bool {
        self.place.is_live(&self.admission.token, &self.admission.session)
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

/// A client's place in the queue. Dropping it leaves the queue.
pub struct Waiting<H> {
    place: Rendezvous<H>,
    /// A parked host was claimed at once: its leg is on the way.
    is_met: bool,
    token: TokenHash,
    id: u64,
    address: IpAddr,
    answer: oneshot::Receiver<Answer<H>>,
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
        if let Some(count) = state.waiting_by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.waiting_by_address.remove(&self.address);
            }
        }
        if let Some(waiters) = state.waiting.get_mut(&self.token) {
            waiters.retain(|waiter| waiter.id != self.id);
            if waiters.is_empty() {
                state.waiting.remove(&self.token);
            }
        }
    }
}

/// One open stream of a session. Dropping it ends it; with the last one the session ends.
pub struct Stream<H> {
    place: Rendezvous<H>,
    admission: Arc<Admission>,
    number: u32,
    until: Instant,
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEG: &str = "the host's leg";

    fn place() -> Rendezvous<&'static str> {
        Rendezvous::new(Caps { waiting: 100, waiting_per_address: 50 })
    }

    fn admission(token: &str, max_streams: u32) -> Admission {
        Admission {
            session: format!("session of {token}"),
            token: TokenHash::of(token.as_bytes()),
            host: "h1".parse().unwrap(),
            target: Some("t".into()),
            user: None,
            max_streams,
            profile: Profile::Bulk,
            max_time: Duration::from_secs(3600),
            origins: vec![],
            remember: Duration::from_secs(60),
        }
    }

    fn visitor(last: u8) -> Visitor {
        Visitor {
            address: [127, 0, 0, last].into(),
            cookie: None,
            next_cookie: format!("c{last}"),
            origin: None,
        }
    }

    fn claim(
        place: &Rendezvous<&'static str>,
        token: &str,
        visitor: Visitor,
    ) -> Result<Waiting<&'static str>, End> {
        place.claim(TokenHash::of(token.as_bytes()), visitor)
    }

    async fn linked(
        mut parked: Parked<&'static str>,
        mut waiting: Waiting<&'static str>,
    ) -> Stream<&'static str> {
        parked.claimed().await.unwrap().hand_over(LEG).unwrap();
        let linked = waiting.answer().await.unwrap().ok().unwrap();
        assert_eq!(linked.host, LEG);
        linked.stream
    }

    #[tokio::test]
    async fn a_host_and_a_client_meet_in_either_order() {
        let place = place();
        let parked = place.park(admission("a", 1)).unwrap();
        let stream = linked(parked, claim(&place, "a", visitor(1)).unwrap()).await;
        assert_eq!(stream.number(), 1);
        drop(stream);
        let waiting = claim(&place, "b", visitor(1)).unwrap();
        let stream = linked(place.park(admission("b", 1)).unwrap(), waiting).await;
        drop(stream);
        assert_eq!(place.counts(), (0, 0));
        assert!(place.lock().sessions.is_empty() && place.lock().waiting.is_empty());
        assert!(place.lock().waiting_by_address.is_empty());
    }

    #[tokio::test]
    async fn of_a_hundred_clients_exactly_one_gets_the_host() {
        let place = Rendezvous::new(Caps { waiting: 100, waiting_per_address: 100 });
        let mut waiting: Vec<_> = (0..100).map(|_| claim(&place, "a", visitor(1)).unwrap()).collect();
        let mut parked = place.park(admission("a", 1)).unwrap();
        parked.claimed().await.unwrap().hand_over(LEG).unwrap();
        let first = waiting.remove(0).answer().await.unwrap();
        assert!(first.is_ok());
        assert_eq!(claim(&place, "a", visitor(1)).err(), Some(End::TokenUsed));
        assert_eq!(place.park(admission("a", 1)).err().unwrap().code, Code::GrantReplayed);
        assert!(waiting.iter_mut().all(|waiting| waiting.answer.try_recv().is_err()));
    }

    #[tokio::test]
    async fn a_session_that_is_over_cannot_be_parked_again() {
        let place = place();
        let stream =
            linked(place.park(admission("a", 2)).unwrap(), claim(&place, "a", visitor(1)).unwrap()).await;
        assert!(place.is_live(&TokenHash::of(b"a"), "session of a"));
        let mut spare = place.park(admission("a", 2)).unwrap();
        assert!(spare.is_spare());
        drop(stream);
        assert!(spare.claimed().await.is_none());
        drop(spare);
        assert_eq!(place.park(admission("a", 2)).err().unwrap().code, Code::GrantReplayed);
        assert_eq!(place.counts(), (0, 0));
    }

    #[tokio::test]
    async fn a_host_that_left_before_any_client_came_may_park_again() {
        let place = place();
        let parked = place.park(admission("a", 1)).unwrap();
        assert_eq!(place.park(admission("a", 1)).err().unwrap().code, Code::GrantReplayed);
        drop(parked);
        assert!(place.park(admission("a", 1)).is_ok());
    }

    #[tokio::test]
    async fn a_client_whose_host_vanished_in_that_moment_asks_again() {
        let place = place();
        let parked = place.park(admission("a", 2)).unwrap();
        let mut waiting = claim(&place, "a", visitor(1)).unwrap();
        drop(parked);
        assert!(waiting.answer().await.is_none());
        drop(waiting);
        assert_eq!(place.counts(), (0, 0));
        assert!(place.lock().sessions.is_empty());
    }

    #[tokio::test]
    async fn further_streams_are_for_the_same_client_only() {
        let place = place();
        let _first =
            linked(place.park(admission("a", 4)).unwrap(), claim(&place, "a", visitor(1)).unwrap()).await;
        let with = |last, cookie: Option<&str>| Visitor { cookie: cookie.map(Into::into), ..visitor(last) };
        assert_eq!(claim(&place, "a", with(2, None)).err(), Some(End::TokenUsed));
        assert_eq!(claim(&place, "a", with(1, Some("other"))).err(), Some(End::TokenUsed));
        let _spare = place.park(admission("a", 4)).unwrap();
        assert!(claim(&place, "a", with(2, Some("c1"))).is_ok());
        assert!(claim(&place, "a", with(1, None)).is_ok());
    }

    #[tokio::test]
    async fn origins_and_caps_are_held() {
        let place = Rendezvous::new(Caps { waiting: 3, waiting_per_address: 2 });
        let admission = Admission { origins: vec!["https://a".into()], ..admission("a", 1) };
        let _parked: Parked<&str> = place.park(admission).unwrap();
        let with = |origin: Option<&str>| Visitor { origin: origin.map(Into::into), ..visitor(1) };
        assert_eq!(place.claim(TokenHash::of(b"a"), with(None)).err(), Some(End::NotAllowed));
        assert_eq!(place.claim(TokenHash::of(b"a"), with(Some("https://b"))).err(), Some(End::NotAllowed));
        assert!(place.claim(TokenHash::of(b"a"), with(Some("https://a"))).is_ok());
        let _waiting: Vec<_> =
            (0..2).map(|_| place.claim(TokenHash::of(b"x"), visitor(1)).unwrap()).collect();
        assert_eq!(place.claim(TokenHash::of(b"x"), visitor(1)).err(), Some(End::TooMany));
        let third = place.claim(TokenHash::of(b"x"), visitor(2));
        assert!(third.is_ok());
        assert_eq!(place.claim(TokenHash::of(b"x"), visitor(3)).err(), Some(End::TooMany));
    }

    #[tokio::test]
    async fn nobody_came_has_two_meanings() {
        let place = place();
        assert_eq!(claim(&place, "a", visitor(1)).unwrap().late(), End::NoHost);
        let _first =
            linked(place.park(admission("a", 2)).unwrap(), claim(&place, "a", visitor(1)).unwrap()).await;
        assert_eq!(claim(&place, "a", visitor(1)).unwrap().late(), End::HostLate);
    }
}
