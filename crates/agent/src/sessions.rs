//! The host's sessions: live ones, those that wait for their client, and used ones, which must not begin again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use opener::Stop;
use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal};
use protocol::end::End;

/// Used sessions that are kept before expired ones are removed: 64 bytes each.
const SPENT: usize = 1024;

const GAVE_WAY: &str = "its URL was not used, and gave way to a newer one";

/// All sessions of this agent. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    live: HashMap<String, Stop>,
    /// Sessions whose URL has not been used yet, the oldest first.
    unused: VecDeque<Unused>,
    spent: HashMap<String, Instant>,
}

struct Unused {
    session: String,
    user: Option<String>,
}

/// A live session; dropping it removes its entry.
pub(crate) struct Session {
    sessions: Sessions,
    id: String,
    stop: Stop,
}

impl Sessions {
    /// Begins a session, once. If `most` already wait for their client, an old one ends: the oldest of the same user,
    /// or else the oldest of the user who has the most.
    ///
    /// # Errors
    /// [`Code::GrantReplayed`], or [`Code::Busy`] when each of `most` users waits for one client.
    pub(crate) fn begin(
        &self,
        id: &str,
        user: Option<&str>,
        remember: Duration,
        most: usize,
    ) -> Result<Session, Refusal> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.spent.len() >= SPENT {
            state.spent.retain(|_, until| *until > now);
        }
        let was_used = state.spent.get(id).is_some_and(|until| *until > now);
        if was_used || state.live.contains_key(id) {
            return Err(Refusal::new(Code::GrantReplayed, "this session was begun before"));
        }
        state.make_room(user, most)?;
        let stop = Stop::default();
        state.live.insert(id.to_owned(), stop.clone());
        state.unused.push_back(Unused { session: id.to_owned(), user: user.map(str::to_owned) });
        state.spent.insert(id.to_owned(), now + remember);
        Ok(Session { sessions: self.clone(), id: id.to_owned(), stop })
    }

    /// # Errors
    /// [`Code::NoSession`].
    pub(crate) fn stop(&self, id: &str, why: CloseFrame) -> Result<(), Refusal> {
        match self.lock().live.get(id) {
            Some(stop) => stop.now(why),
            None => return Err(Refusal::new(Code::NoSession, "no such session on this host")),
        }
        Ok(())
    }

    pub(crate) fn stop_all(&self, why: &CloseFrame) {
        for stop in self.lock().live.values() {
            stop.now(why.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends an unused session if there are `most`.
    fn make_room(&mut self, user: Option<&str>, most: usize) -> Result<(), Refusal> {
        if self.unused.len() < most {
            return Ok(());
        }
        let mut held: HashMap<Option<&str>, usize> = HashMap::new();
        for unused in &self.unused {
            *held.entry(unused.user.as_deref()).or_default() += 1;
        }
        let heaviest = held.iter().filter(|(_, held)| **held > 1).max_by_key(|(_, held)| **held);
        let whose = if held.contains_key(&user) { Some(user) } else { heaviest.map(|(user, _)| *user) };
        let oldest = whose.and_then(|whose| self.unused.iter().position(|one| one.user.as_deref() == whose));
        let Some(oldest) = oldest.and_then(|oldest| self.unused.remove(oldest)) else {
            let message = format!("{most} other users have a URL here that they have not used yet");
            return Err(Refusal::new(Code::Busy, message));
        };
        if let Some(stop) = self.live.get(&oldest.session) {
            stop.now(CloseFrame::new(End::SessionEnded, GAVE_WAY));
        }
        Ok(())
    }

    fn is_used(&mut self, id: &str) {
        self.unused.retain(|unused| unused.session != id);
    }
}

impl Session {
    /// Its client has come: from now on it does not give way.
    pub(crate) fn is_used(&self) {
        self.sessions.lock().is_used(&self.id);
    }

    /// When and why it must end.
    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.sessions.lock();
        state.live.remove(&self.id);
        state.is_used(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn begin(sessions: &Sessions, id: &str, remember: Duration) -> Result<Session, Refusal> {
        sessions.begin(id, None, remember, 10)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_begins_once_and_can_be_stopped_while_it_lives() {
        let sessions = Sessions::default();
        let remember = Duration::from_secs(70);
        let session = begin(&sessions, "a", remember).unwrap();
        assert_eq!(begin(&sessions, "a", remember).err().unwrap().code, Code::GrantReplayed);
        sessions.stop("a", End::SessionEnded.into()).unwrap();
        assert_eq!(session.stop().wait().await.end(), End::SessionEnded);
        drop(session);
        assert_eq!(sessions.stop("a", End::SessionEnded.into()).unwrap_err().code, Code::NoSession);
        assert_eq!(begin(&sessions, "a", remember).err().unwrap().code, Code::GrantReplayed);
        tokio::time::advance(remember).await;
        assert!(begin(&sessions, "a", remember).is_ok());
        assert!(sessions.lock().live.is_empty());
    }

    #[test]
    fn the_oldest_unused_session_of_the_same_user_gives_way() {
        let sessions = Sessions::default();
        let begin = |id: &str, user| sessions.begin(id, Some(user), Duration::from_secs(60), 4);
        let of = |ids: [&str; 3]| ids.map(|id| begin(id, "alice").unwrap());
        let ([a1, a2, a3], b1) = (of(["a1", "a2", "a3"]), begin("b1", "bob").unwrap());
        // A used session does not give way, and does not count.
        a1.is_used();
        let b2 = begin("b2", "bob").unwrap();
        let is_over = |session: &Session| session.stop().wait().now_or_never().is_some();
        assert!([&a1, &a2, &a3, &b1, &b2].into_iter().all(|session| !is_over(session)));
        let a4 = begin("a4", "alice").unwrap();
        assert!(is_over(&a2) && !is_over(&a3) && !is_over(&b1));
        assert_eq!(a2.stop().wait().now_or_never().unwrap().words(), GAVE_WAY);
        // A user without one takes the place of the user who has the most, but never a user's only one.
        let b3 = begin("b3", "bob").unwrap();
        assert!(is_over(&b1) && !is_over(&b2));
        let c1 = begin("c1", "carol").unwrap();
        let d1 = begin("d1", "dave").unwrap();
        assert_eq!([&a3, &a4, &b2, &b3].into_iter().filter(|session| is_over(session)).count(), 2);
        assert_eq!(begin("e1", "erin").err().unwrap().code, Code::Busy);
        drop((c1, d1));
        assert!(begin("e1", "erin").is_ok());
    }
}
