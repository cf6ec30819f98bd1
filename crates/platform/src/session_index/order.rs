//! The order in which sessions came, and which of them is forgotten first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::host::HostId;

/// How many sessions of this platform are remembered, and how many of others, about 10 MiB each. They do not take each
/// other's place: what a host says of itself must not make the platform forget what it has opened.
pub(super) const MOST: usize = 10_000;

/// Of so many that are the oldest, one that has ended is forgotten first.
const OLDEST: usize = 64;

/// Numbers of sessions, the oldest first.
#[derive(Default)]
pub(super) struct Order {
    ids: BTreeMap<u64, String>,
    own: BTreeSet<u64>,
    /// Those that only a host has reported.
    seen: HashMap<HostId, BTreeSet<u64>>,
    seen_count: usize,
}

impl Order {
    /// Adds a session. `seen_on`: the host that has reported it, if this platform has not opened it.
    pub(super) fn insert(&mut self, number: u64, id: &str, seen_on: Option<&HostId>) {
        self.ids.insert(number, id.to_owned());
        match seen_on {
            None => drop(self.own.insert(number)),
            Some(host) => {
                let is_new = self.seen.entry(host.clone()).or_default().insert(number);
                self.seen_count += usize::from(is_new);
            }
        }
    }

    /// Takes one out. `seen_on` is as when it was added.
    pub(super) fn remove(&mut self, number: u64, seen_on: Option<&HostId>) {
        self.ids.remove(&number);
        match seen_on {
            None => drop(self.own.remove(&number)),
            Some(host) => {
                if let Some(numbers) = self.seen.get_mut(host) {
                    self.seen_count -= usize::from(numbers.remove(&number));
                    if numbers.is_empty() {
                        self.seen.remove(host);
                    }
                }
            }
        }
    }

    pub(super) fn id(&self, number: u64) -> Option<&String> {
        self.ids.get(&number)
    }

    /// The one to forget now, if there are too many. Of those that hosts have reported, it is one of the host with the
    /// most.
    pub(super) fn too_many(&self, has_ended: impl Fn(&str) -> bool) -> Option<u64> {
        let most_of_host = || self.seen.values().max_by_key(|numbers| numbers.len());
        let numbers = match (self.own.len() > MOST, self.seen_count > MOST) {
            (true, _) => &self.own,
            (false, true) => most_of_host()?,
            (false, false) => return None,
        };
        let ended = |number: &&u64| self.ids.get(number).is_none_or(|id| has_ended(id));
        numbers.iter().take(OLDEST).find(ended).or_else(|| numbers.first()).copied()
    }

    /// The ids of those with a smaller number, the newest first.
    pub(super) fn before(&self, number: u64) -> impl Iterator<Item = &String> {
        self.ids.range(..number).rev().map(|(_, id)| id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}
