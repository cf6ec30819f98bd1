//! The sessions that live on this host, and those that must not come again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::command::{Code, Refusal};
use crate::protocol::end::Closing;

use super::stop::Stop;

/// Used sessions that are remembered before old ones are looked for: 64 bytes each.
const SPENT: usize = 1024;

/// All sessions of this agent. Clones are the same.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    live: HashMap<String, Stop>,
    spent: HashMap<String, Instant>,
}

/// A live session; dropping it ends its entry.
pub struct Session {
    sessions: Sessions,
    id: String,
    stop: Stop,
}

impl Sessions {
    /// Begins a session, once.
    ///
    /// # Errors
    /// [`Code::GrantReplayed`].
    pub fn begin(&self, id: &str, remember: Duration) -> Result<Session, Refusal> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.spent.len() >= SPENT {
            state.spent.retain(|_, until| *until > now);
        }
        let was_used = state.spent.get(id).is_some_and(|until| *until > now);
        if was_used || state.live.contains_key(id) {
            return Err(Refusal::new(Code::GrantReplayed, "this session was begun before"));
        }
        let stop = Stop::default();
        state.live.insert(id.to_owned(), stop.clone());
        state.spent.insert(id.to_owned(), now + remember);
        Ok(Session { sessions: self.clone(), id: id.to_owned(), stop })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Code::NoSession`].
    pub fn stop(&self, id: &str, why: Closing) -> Result<(), Refusal> {
        match self.lock().live.get(id) {
            Some(stop) => stop.now(why),
            None => return Err(Refusal::new(Code::NoSession, "no such session on this host")),
        }
        Ok(())
    }

    /// Ends all sessions.
    pub fn stop_all(&self, why: &Closing) {
        for stop in self.lock().live.values() {
            stop.now(why.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// When and why it must end.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.lock().live.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::end::End;

    #[tokio::test(start_paused = true)]
    async fn a_session_begins_once_and_can_be_stopped_while_it_lives() {
        let sessions = Sessions::default();
        let remember = Duration::from_secs(70);
        let session = sessions.begin("a", remember).unwrap();
        assert_eq!(sessions.begin("a", remember).err().unwrap().code, Code::GrantReplayed);
        sessions.stop("a", End::SessionEnded.into()).unwrap();
        assert_eq!(session.stop().wait().await.end, End::SessionEnded);
        drop(session);
        assert_eq!(sessions.stop("a", End::SessionEnded.into()).unwrap_err().code, Code::NoSession);
        assert_eq!(sessions.begin("a", remember).err().unwrap().code, Code::GrantReplayed);
        tokio::time::advance(remember).await;
        assert!(sessions.begin("a", remember).is_ok());
        assert!(sessions.lock().live.is_empty());
    }
}
