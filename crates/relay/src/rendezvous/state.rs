//! The entries behind one lock, and what a guard that is dropped does to them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::oneshot;

use super::admission::ClientIdentity;
use super::early::EarlyClients;
use super::entries::Entries;
use super::session::SessionEntry;
use super::stream::LinkResult;
use protocol::token::TokenHash;

/// The state and its lock. No guard of an entry may be dropped while it is locked: guards lock it.
pub(super) struct Shared<H>(Mutex<State<H>>);

pub(super) struct State<H> {
    pub(super) sessions: HashMap<TokenHash, SessionEntry<H>>,
    /// Sessions that ended since the last call that brought the time: id, and how long to remember it.
    ended: Vec<(String, Duration)>,
    /// Ids of ended sessions, until when they are remembered.
    pub(super) spent: HashMap<String, Instant>,
    pub(super) waiting: HashMap<TokenHash, VecDeque<Waiter<H>>>,
    pub(super) early: EarlyClients,
    pub(super) clients_waiting: usize,
    pub(super) hosts_parked: usize,
    last_id: u64,
}

/// A client in the queue of its token.
pub(super) struct Waiter<H> {
    pub(super) id: u64,
    pub(super) client: ClientIdentity,
    pub(super) result: oneshot::Sender<LinkResult<H>>,
}

impl<H> Default for Shared<H> {
    fn default() -> Shared<H> {
        Shared(Mutex::new(State {
            sessions: HashMap::new(),
            ended: vec![],
            spent: HashMap::new(),
            waiting: HashMap::new(),
            early: EarlyClients::default(),
            clients_waiting: 0,
            hosts_parked: 0,
            last_id: 0,
        }))
    }
}

impl<H> Shared<H> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<H>> {
        // No code panics while holding it; should one, the counts may be off but entries are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Send> Entries for Shared<H> {
    fn unpark(&self, token: &TokenHash, id: u64) {
        let mut state = self.lock();
        if let Some(session) = state.sessions.get_mut(token) {
            let before = session.parked.len();
            session.parked.retain(|entry| entry.id != id);
            let removed = before - session.parked.len();
            state.hosts_parked -= removed;
            state.end_if_over(token);
        }
    }

    fn close(&self, token: &TokenHash, number: u32) {
        let mut spares = VecDeque::new();
        let mut state = self.lock();
        if let Some(session) = state.sessions.get_mut(token) {
            // The same token cannot name another session while this one has an open stream.
            session.open.retain(|open| *open != number);
            if session.open.is_empty() {
                spares = std::mem::take(&mut session.parked);
                state.hosts_parked -= spares.len();
            }
            state.end_if_over(token);
        }
        drop(state);
        drop(spares);
    }

    fn leave(&self, token: &TokenHash, id: u64, early: Option<IpNet>) {
        let mut state = self.lock();
        state.clients_waiting -= 1;
        if let Some(network) = early {
            state.early.leave(network);
        }
        if let Some(waiters) = state.waiting.get_mut(token) {
            waiters.retain(|waiter| waiter.id != id);
            if waiters.is_empty() {
                state.waiting.remove(token);
            }
        }
    }

    fn has(&self, token: &TokenHash) -> bool {
        self.lock().sessions.contains_key(token)
    }
}

impl<H> State<H> {
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Takes the client out of the queue that has waited longest for this token.
    pub(super) fn next_waiter(&mut self, token: &TokenHash) -> Option<Waiter<H>> {
        let waiters = self.waiting.get_mut(token)?;
        let waiter = waiters.pop_front();
        if waiters.is_empty() {
            self.waiting.remove(token);
        }
        waiter
    }

    /// Dates the sessions that ended since the last call. A guard that is dropped does not know the time; an id is
    /// remembered a little longer for that, and never shorter.
    pub(super) fn remember_ended(&mut self, now: Instant) {
        for (session, remember) in self.ended.drain(..) {
            self.spent.insert(session, now + remember);
        }
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
            self.ended.push((session.admission.session.clone(), session.admission.remember));
        }
    }
}
