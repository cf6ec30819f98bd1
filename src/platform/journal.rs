//! What each session opened, so that it can be ended by its id alone, and by whoever may open the same.

use std::collections::{HashMap, VecDeque};

use crate::protocol::host::HostId;

/// Sessions that are remembered, about 2 MiB; older ones are ended by naming their host.
const MOST: usize = 10_000;

/// What a session opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// On which host.
    pub host: HostId,
    /// Name of the target.
    pub target: String,
}

/// The latest sessions.
#[derive(Debug, Default)]
pub struct Journal {
    opened: HashMap<String, Opened>,
    order: VecDeque<String>,
}

impl Journal {
    /// Notes a session, and forgets the oldest if there are too many.
    pub fn note(&mut self, session: &str, opened: Opened) {
        self.opened.insert(session.to_owned(), opened);
        self.order.push_back(session.to_owned());
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.opened.remove(&oldest);
        }
    }

    /// What a session opened.
    pub fn find(&self, session: &str) -> Option<&Opened> {
        self.opened.get(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_are_remembered() {
        let mut journal = Journal::default();
        let opened = Opened { host: "h1".parse().unwrap(), target: "t".into() };
        for session in 0..=MOST {
            journal.note(&session.to_string(), opened.clone());
        }
        assert_eq!(journal.find("0"), None);
        assert_eq!(journal.find("1"), Some(&opened));
        assert_eq!(journal.order.len(), journal.opened.len());
    }
}
