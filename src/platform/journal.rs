//! Which host a session is on, so that it can be ended by its id alone.

use std::collections::{HashMap, VecDeque};

use crate::protocol::host::HostId;

/// Sessions that are remembered; older ones are ended through the host itself.
const MOST: usize = 10_000;

/// The latest sessions.
#[derive(Debug, Default)]
pub struct Journal {
    hosts: HashMap<String, HostId>,
    order: VecDeque<String>,
}

impl Journal {
    /// Notes a session, and forgets the oldest if there are too many.
    pub fn note(&mut self, session: &str, host: &HostId) {
        self.hosts.insert(session.to_owned(), host.clone());
        self.order.push_back(session.to_owned());
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.hosts.remove(&oldest);
        }
    }

    /// The host of a session.
    pub fn host_of(&self, session: &str) -> Option<HostId> {
        self.hosts.get(session).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_are_remembered() {
        let (mut journal, host) = (Journal::default(), "h1".parse().unwrap());
        for session in 0..=MOST {
            journal.note(&session.to_string(), &host);
        }
        assert_eq!(journal.host_of("0"), None);
        assert_eq!(journal.host_of("1"), Some(host));
        assert_eq!(journal.order.len(), journal.hosts.len());
    }
}
