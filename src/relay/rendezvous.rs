//! Where hosts and clients find each other: parked hosts, waiting clients, and what a session may still do.
//!
//! No sockets in here: a host's leg is any `H`, and it only passes through. Every entry leaves by
//! its own guard, and a claim takes its entry out, so that a parked host serves exactly one client.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::protocol::close::CloseFrame;
use crate::protocol::command::{Code, Refusal};
use crate::protocol::token::TokenHash;

pub use parked::{Claim, Parked};
use session::Session;
pub use session::{Admission, Secret, Visitor};
use strangers::Strangers;
pub use stream::{Linked, Stream};
pub use waiting::Waiting;

mod parked;
mod session;
mod strangers;
mod stream;
#[cfg(test)]
mod tests;
mod waiting;

/// How many may be here at once.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Parked hosts, and as many waiting strangers, on the whole relay.
    pub waiting: usize,
    /// Waiting strangers of one address.
    pub waiting_per_address: usize,
}

/// What a client gets in the end.
type Answer<H> = Result<Linked<H>, CloseFrame>;

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
    strangers: Strangers,
    clients_waiting: usize,
    hosts_parked: usize,
    next_id: u64,
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
            strangers: Strangers::default(),
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

    /// Whether a client has shown what only the client of this live session can.
    pub fn is_client(&self, token: &TokenHash, visitor: &Visitor) -> bool {
        self.lock().sessions.get(token).is_some_and(|session| session.is_client(visitor))
    }

    /// Parks a host. A client that already waits gets it at once.
    ///
    /// # Errors
    /// [`Code::GrantReplayed`] for a session that is over, has all its streams or is parked already, and for a
    /// spare without its session's secret; [`Code::Busy`] when the relay is full.
    pub fn park(&self, admission: Admission, secret: Secret) -> Result<Parked<H>, Refusal> {
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
        let is_spare = match state.sessions.get(&token) {
            Some(session) => session.takes_spare(&admission, secret).map(|()| true)?,
            None => false,
        };
        let id = state.next_id();
        state.hosts_parked += 1;
        let (claim, claimed) = oneshot::channel();
        let session = state.sessions.entry(token).or_insert_with(|| Session::new(admission, secret));
        let admission = session.admission.clone();
        session.parked.push_back(parked::Entry { id, claim });
        while let Some(waiter) = state.next_waiter(&token) {
            // This host's receiver is still in our hands, so the claim cannot come back.
            if let Served::Given(_) = self.serve(&mut state, &token, waiter) {
                break;
            }
        }
        drop(state);
        Ok(Parked { place: self.clone(), admission, is_spare, id, claimed })
    }

    /// Presents a client's token. The answer comes when a host is there.
    ///
    /// # Errors
    /// What is known at once: `TooMany`, `NotAllowed`, `TokenUsed`.
    pub fn claim(&self, token: TokenHash, visitor: Visitor) -> Result<Waiting<H>, CloseFrame> {
        let mut state = self.lock();
        let mut is_parked = false;
        let mut stranger = None;
        if let Some(session) = state.sessions.get(&token) {
            session.admits(&visitor)?;
            is_parked = !session.parked.is_empty();
            let queued = state.waiting.get(&token).map_or(0, VecDeque::len);
            if !is_parked && queued >= session.left() {
                return Err(session.used_up());
            }
        } else {
            // Only who shows nothing that is known here is counted: a crowd must not keep others out.
            state.strangers.enter(visitor.bucket, self.caps)?;
            stranger = Some(visitor.bucket);
        }
        let (client, answer) = oneshot::channel();
        let id = state.next_id();
        state.clients_waiting += 1;
        let waiter = Waiter { id, visitor, client };
        let served = if is_parked {
            self.serve(&mut state, &token, waiter)
        } else {
            state.waiting.entry(token).or_default().push_back(waiter);
            Served::TurnedAway
        };
        drop(state);
        // A claim that came back ends its stream, which locks the place: only now.
        drop(served);
        Ok(Waiting { place: self.clone(), is_met: is_parked, token, id, stranger, answer })
    }

    /// Hosts that are parked and clients that wait, now.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.hosts_parked, state.clients_waiting)
    }

    /// Gives the longest parked host of a session to a client.
    fn serve(&self, state: &mut State<H>, token: &TokenHash, waiter: Waiter<H>) -> Served<H> {
        let Some(session) = state.sessions.get_mut(token) else { return Served::TurnedAway };
        if let Err(why) = session.admits(&waiter.visitor) {
            // A client that is gone does not need to know.
            let _ = waiter.client.send(Err(why));
            return Served::TurnedAway;
        }
        if waiter.client.is_closed() {
            return Served::TurnedAway;
        }
        let Some(entry) = session.parked.pop_front() else { return Served::TurnedAway };
        let (number, until) = session.give(&waiter.visitor);
        let stream = Stream { place: self.clone(), admission: session.admission.clone(), number, until };
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
