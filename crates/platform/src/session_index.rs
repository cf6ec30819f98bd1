//! The host and target of each session, so that a key that may open the same can end it by its id.

use std::collections::{HashMap, VecDeque};

use protocol::host::HostId;

/// How many sessions are remembered, about 2 MiB. A request that ends an older one must name its host.
const MAX_SESSIONS: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub host: HostId,
    /// Name of the target on that host.
    pub target: String,
}

/// The sessions that were started last.
#[derive(Debug, Default)]
pub(crate) struct SessionIndex {
    opened: HashMap<String, Opened>,
    order: VecDeque<String>,
}

impl SessionIndex {
    /// Adds a session, and removes the oldest if there are too many.
    pub(crate) fn insert(&mut self, session: &str, opened: Opened) {
        self.opened.insert(session.to_owned(), opened);
        self.order.push_back(session.to_owned());
        if self.order.len() > MAX_SESSIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.opened.remove(&oldest);
        }
    }

    /// What a session opened, if it is still remembered.
    pub(crate) fn find(&self, session: &str) -> Option<&Opened> {
        self.opened.get(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_are_remembered() {
        let mut session_index = SessionIndex::default();
        let opened = Opened { host: "h1".parse().unwrap(), target: "t".into() };
        for session in 0..=MAX_SESSIONS {
            session_index.insert(&session.to_string(), opened.clone());
        }
        assert_eq!(session_index.find("0"), None);
        assert_eq!(session_index.find("1"), Some(&opened));
        assert_eq!(session_index.order.len(), session_index.opened.len());
    }
}
