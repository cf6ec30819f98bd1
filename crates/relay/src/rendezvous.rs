//! Where hosts and clients find each other: parked hosts, waiting clients, and the sessions they belong to.
//!
//! No sockets and no clock in here: a host's websocket is any `H` that only passes through, and callers pass the
//! time. Every entry leaves by its own guard, and a claim takes its entry out, so that a parked host serves
//! exactly one client.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use tokio::sync::oneshot;

use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal};
use protocol::token::TokenHash;
use service::counted::Counted;

pub use admission::{Admission, ClientIdentity, Secret};
pub use early::Caps;
pub use parked::{Claim, Parked};
use session::SessionEntry;
use state::{Shared, State, Waiter};
pub use stream::{Linked, Stream};
pub use waiting::Waiting;

mod admission;
mod early;
mod entries;
mod parked;
mod session;
mod state;
mod stream;
#[cfg(test)]
mod tests;
mod waiting;

/// All parked hosts, waiting clients and live sessions of a relay.
pub struct Rendezvous<H> {
    shared: Arc<Shared<H>>,
    caps: Caps,
}

impl<H: Send + 'static> Rendezvous<H> {
    pub fn new(caps: Caps) -> Rendezvous<H> {
        Rendezvous { shared: Arc::new(Shared::default()), caps }
    }

    /// Whether this session has had a stream and is not over, so that a spare may come with an expired grant.
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

    /// Whether a client shows, as of `now`, that it is the client of this live session.
    pub fn is_client(&self, token: &TokenHash, client: &ClientIdentity, now: Instant) -> bool {
        self.lock().sessions.get(token).is_some_and(|session| session.is_client(client, now))
    }

    /// Whether a client may have a later stream of a live session, as of `now`; `None` if no live session has this token.
    pub fn admits_later(
        &self,
        token: &TokenHash,
        client: &ClientIdentity,
        now: Instant,
    ) -> Option<Result<(), CloseFrame>> {
        let state = self.lock();
        let session = state.sessions.get(token).filter(|session| session.given > 0)?;
        Some(session.admits(client, now))
    }

    /// Parks a host, as of `now`. A client that already waits gets it at once.
    ///
    /// # Errors
    /// [`Code::GrantReplayed`] for a session that is over, has all its streams or is parked already, and for a
    /// spare without its session's secret; [`Code::Busy`] when the relay is full.
    pub fn park(&self, admission: Admission, secret: Secret, now: Instant) -> Result<Parked<H>, Refusal> {
        let mut state = self.lock();
        state.remember_ended(now);
        if state.spent.len() > 2 * self.caps.waiting {
            state.spent.retain(|_, until| *until > now);
        }
        if state.spent.get(&admission.session).is_some_and(|until| *until > now) {
            return Err(Refusal::new(Code::GrantReplayed, "this session is over"));
        }
        if state.hosts_parked >= self.caps.waiting {
            return Err(Refusal::new(
                Code::Busy,
                format!("no more than {} may be parked here", Counted(self.caps.waiting, "host")),
            ));
        }
        let token = admission.token;
        let is_spare = match state.sessions.get(&token) {
            Some(session) => session.takes_spare(&admission, secret).map(|()| true)?,
            None => false,
        };
        let id = state.next_id();
        state.hosts_parked += 1;
        let (claim, claimed) = oneshot::channel();
        let session = state.sessions.entry(token).or_insert_with(|| SessionEntry::new(admission, secret));
        let admission = session.admission.clone();
        session.parked.push_back(parked::ParkedEntry { id, claim });
        while let Some(waiter) = state.next_waiter(&token) {
            // This function still has the host's receiver, so the claim cannot come back.
            if let Served::Claimed(_) = self.serve(&mut state, &token, waiter, now) {
                break;
            }
        }
        drop(state);
        Ok(Parked { entries: self.shared.clone(), admission, is_spare, id, claimed })
    }

    /// Presents a client's token, as of `now`. The result comes when a host is there.
    ///
    /// # Errors
    /// What is known at once: `TooMany`, `NotAllowed`, `TokenUsed`.
    pub fn claim(
        &self,
        token: TokenHash,
        client: ClientIdentity,
        now: Instant,
    ) -> Result<Waiting<H>, CloseFrame> {
        let mut state = self.lock();
        state.remember_ended(now);
        let mut has_host = false;
        let mut early = None;
        if let Some(session) = state.sessions.get(&token) {
            session.admits(&client, now)?;
            has_host = !session.parked.is_empty();
            let queued = state.waiting.get(&token).map_or(0, VecDeque::len);
            if !has_host && queued >= session.left() {
                return Err(session.used_up());
            }
        } else {
            // Only clients with an unknown token are counted: a crowd of them must not keep the others out.
            state.early.enter(client.network, self.caps)?;
            early = Some(client.network);
        }
        let (result_sender, result) = oneshot::channel();
        let id = state.next_id();
        state.clients_waiting += 1;
        let waiter = Waiter { id, client, result: result_sender };
        let served = if has_host {
            self.serve(&mut state, &token, waiter, now)
        } else {
            state.waiting.entry(token).or_default().push_back(waiter);
            Served::Rejected
        };
        drop(state);
        // A claim that came back ends its stream, which takes the lock: only now.
        drop(served);
        Ok(Waiting { entries: self.shared.clone(), has_host, token, id, early, result })
    }

    /// How many hosts are parked and how many clients wait.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.hosts_parked, state.clients_waiting)
    }

    /// Gives the host of a session that has been parked longest to a client.
    fn serve(&self, state: &mut State<H>, token: &TokenHash, waiter: Waiter<H>, now: Instant) -> Served<H> {
        let Some(session) = state.sessions.get_mut(token) else { return Served::Rejected };
        if let Err(why) = session.admits(&waiter.client, now) {
            // A client that is gone does not need to know.
            let _ = waiter.result.send(Err(why));
            return Served::Rejected;
        }
        if waiter.result.is_closed() {
            return Served::Rejected;
        }
        let Some(entry) = session.parked.pop_front() else { return Served::Rejected };
        let (number, until) = session.give(&waiter.client, now);
        let stream =
            Stream { entries: self.shared.clone(), admission: session.admission.clone(), number, until };
        state.hosts_parked -= 1;
        let claim = Claim { stream, result: waiter.result };
        // A host that has just gone gives the claim back: its client gets no result, and asks again.
        Served::Claimed(entry.claim.send(claim).err())
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.shared.lock()
    }
}

/// What became of a client for which a host was looked for.
enum Served<H> {
    /// It may not have a host, has gone, or there is none. A parked host stays free.
    Rejected,
    /// It got the host; a claim that could not be delivered must be dropped outside the lock.
    Claimed(#[allow(dead_code, reason = "held so that it is dropped at the right moment")] Option<Claim<H>>),
}
