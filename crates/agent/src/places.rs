//! How many streams may be open at once, of all sessions: a limit for each target, and one for the host. A parked session
//! has no place: its client may never come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opener::Permitted;
use protocol::command::{Code, Refusal};
use service::counted::Counted;

/// The places. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: u32,
    /// Open streams by target, also of removed targets.
    open: HashMap<String, u32>,
}

/// Counts as one open stream until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    target: String,
}

impl Places {
    /// `limit` is the number of open streams of all targets together.
    pub(crate) fn new(limit: u32) -> Places {
        Places(Arc::new(Mutex::new(State { limit, open: HashMap::new() })))
    }

    /// Changes the limit. Streams above it go on.
    pub(crate) fn limit(&self, limit: u32) {
        self.lock().limit = limit;
    }

    /// Whether a stream could be opened now.
    ///
    /// # Errors
    /// [`Code::Busy`] if open streams have reached a limit.
    pub(crate) fn check(&self, target: &Permitted) -> Result<(), Refusal> {
        self.lock().has_room(target)
    }

    /// Takes a place for a linked client.
    ///
    /// # Errors
    /// [`Code::Busy`] if open streams have reached a limit.
    pub(crate) fn take(&self, target: &Permitted) -> Result<Place, Refusal> {
        let mut state = self.lock();
        state.has_room(target)?;
        *state.open.entry(target.target.clone()).or_default() += 1;
        drop(state);
        Ok(Place { places: self.clone(), target: target.target.clone() })
    }

    /// Streams that are open now.
    pub(crate) fn open(&self) -> u32 {
        self.lock().open.values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, target: &Permitted) -> Result<(), Refusal> {
        let total: u32 = self.open.values().sum();
        if total >= self.limit {
            let message = format!("this host has {} open, its limit", Counted(total, "stream"));
            return Err(Refusal::new(Code::Busy, message));
        }
        let open = self.open.get(&target.target).copied().unwrap_or_default();
        if open >= target.max_streams {
            let streams = Counted(open, "stream");
            let message = format!("target {} has {streams} open, its limit", target.target);
            return Err(Refusal::new(Code::Busy, message));
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        if let Some(open) = state.open.get_mut(&self.target) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&self.target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::mode::Mode;
    use protocol::profile::Profile;

    use super::*;

    fn target(name: &str, max_streams: u32) -> Permitted {
        Permitted {
            target: name.into(),
            mode: Mode::Rw,
            streams: 1,
            max_streams,
            profile: Profile::Bulk,
            same_address: false,
            is_terminal: false,
        }
    }

    #[test]
    fn limits_are_held_and_places_come_back() {
        let (places, a, b) = (Places::new(3), target("a", 2), target("b", 9));
        let (_a1, a2) = (places.take(&a).unwrap(), places.take(&a).unwrap());
        assert_eq!(places.check(&a).unwrap_err().code, Code::Busy);
        let _b = places.take(&b).unwrap();
        assert_eq!(places.take(&b).unwrap_err().code, Code::Busy);
        drop(a2);
        assert_eq!(places.open(), 2);
        places.take(&b).unwrap();
        places.limit(2);
        assert_eq!(places.check(&b).unwrap_err().code, Code::Busy);
    }
}
