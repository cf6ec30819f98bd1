//! The hosts that were seen on NATS, and which of them are there. Only what pages show depends on it: a host that is
//! asked for is asked, whatever stands here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::parse_rfc3339;
use tokio::time::Instant;
use tracing::warn;

use protocol::host::HostId;
use protocol::plain::plain;
use protocol::presence::{Alive, Gone};

use super::changes::{Change, Changes};
use super::policy::ApiKey;

/// Hosts that are remembered, about 50 MiB. With more, those that are offline are forgotten first, and then those that
/// only answer: NATS lets every agent answer in any host's name, but gives each its own subject for signs of life.
pub(super) const MOST: usize = 100_000;

/// The longest id of an agent's run that is remembered, in bytes: a ULID has 26, and NATS's own ids have 22.
const MAX_INSTANCE: usize = 64;

/// The longest version that is shown, in bytes.
const MAX_VERSION: usize = 32;

/// The shortest and the longest time between two signs of life that is believed, in seconds.
const EVERY: std::ops::RangeInclusive<u64> = 1..=3600;

pub(crate) struct Hosts {
    state: Mutex<State>,
    changes: Arc<Changes>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<HostId, Host>,
    is_full: bool,
    /// There is no place for one more, and nobody has gone since that was looked at.
    has_no_place: bool,
    /// How often all agents were asked.
    asked: u64,
}

/// What is known of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    pub is_online: bool,
    pub version: Option<String>,
    /// Since when it is online, or offline.
    pub since: Option<SystemTime>,
    /// The run of its agent.
    instance: String,
    /// Whether that run has said that it stops.
    is_gone: bool,
    /// Until when it is online without a further sign of life; none if it gives none.
    until: Option<Instant>,
    /// The last question to all agents that it has answered.
    answered: u64,
}

/// The answer of an agent to the question to all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub host: HostId,
    instance: String,
    version: Option<String>,
}

impl Present {
    /// Keeps as much of these texts as is remembered.
    pub(crate) fn new(host: HostId, run: &str, shown: &str) -> Present {
        Present { host, instance: instance(run).to_owned(), version: version(shown) }
    }
}

/// Which hosts to list.
#[derive(Debug, Default)]
pub(crate) struct HostQuery {
    /// A part of the id, in lower case.
    pub part: String,
    /// Only those behind this one.
    pub after: Option<HostId>,
    pub limit: usize,
}

impl Hosts {
    pub(crate) fn new(changes: Arc<Changes>) -> Hosts {
        Hosts { state: Mutex::default(), changes }
    }

    /// An agent is there.
    pub(crate) fn alive(&self, alive: Alive) {
        let every = alive.every.clamp(*EVERY.start(), *EVERY.end());
        let until = Instant::now() + Duration::from_secs(every) * 5 / 2;
        self.change(&alive.host, true, |host| {
            *host = Host {
                is_online: true,
                version: version(&alive.version),
                since: parse_rfc3339(&alive.since).ok(),
                instance: instance(&alive.instance).to_owned(),
                until: Some(until),
                answered: host.answered,
                is_gone: false,
            };
        });
    }

    /// An agent stops. Another one with the same host id may still be there.
    pub(crate) fn gone(&self, gone: &Gone) {
        let mut state = self.lock();
        let is_last = |host: &&mut Host| host.instance == instance(&gone.instance) && host.is_online;
        if let Some(host) = state.known.get_mut(&gone.host).filter(is_last) {
            host.leave(SystemTime::now());
            host.is_gone = true;
            state.has_no_place = false;
            self.changes.add(Change::Host(gone.host.clone()));
        }
    }

    /// All agents were asked, and these have answered. Agents that give signs of life are not judged by it: an answer
    /// may be lost among thousands.
    pub(crate) fn answered(&self, answers: HashMap<HostId, Present>) {
        let number = {
            let mut state = self.lock();
            state.asked += 1;
            state.asked
        };
        for (id, present) in answers {
            self.change(&id, false, |host| {
                host.answered = number;
                // An answer may be older than the word that the agent stops.
                let has_stopped = host.is_gone && host.instance == present.instance;
                if !host.is_online && !has_stopped {
                    let Present { instance, version, .. } = present;
                    *host = Host { is_online: true, answered: number, instance, version, ..Host::default() };
                }
            });
        }
        let mut state = self.lock();
        state.has_no_place = false;
        let now = SystemTime::now();
        for (id, host) in &mut state.known {
            if host.is_online && host.until.is_none() && host.answered < number {
                host.leave(now);
                self.changes.add(Change::Host(id.clone()));
            }
        }
    }

    /// Takes hosts for offline that were silent for too long.
    pub(crate) fn sweep(&self) {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let mut state = self.lock();
        state.has_no_place = false;
        for (id, host) in &mut state.known {
            if host.is_online && host.until.is_some_and(|until| until <= now) {
                host.leave(clock);
                self.changes.add(Change::Host(id.clone()));
            }
        }
    }

    /// What is known of a host.
    pub(crate) fn find(&self, id: &HostId) -> Option<Host> {
        self.lock().known.get(id).cloned()
    }

    /// The hosts that the key may see, by their ids: those that are known, and those that were `named`. Also says
    /// whether there are more.
    pub(crate) fn list(
        &self,
        key: &ApiKey,
        named: &BTreeSet<HostId>,
        query: &HostQuery,
    ) -> (Vec<(HostId, Host)>, bool) {
        let from = query.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let is_asked =
            |id: &&HostId| key.may_see(id) && id.as_str().to_ascii_lowercase().contains(query.part.as_str());
        let state = self.lock();
        let mut known =
            state.known.range((from, Bound::Unbounded)).map(|(id, _)| id).filter(is_asked).peekable();
        let mut named = named.range((from, Bound::Unbounded)).filter(is_asked).peekable();
        let mut list = Vec::new();
        loop {
            let next = match (known.peek(), named.peek()) {
                (Some(first), Some(second)) => *first.min(second),
                (Some(only), None) | (None, Some(only)) => *only,
                (None, None) => return (list, false),
            };
            if list.len() == query.limit {
                return (list, true);
            }
            known.next_if_eq(&next);
            named.next_if_eq(&next);
            list.push((next.clone(), state.known.get(next).cloned().unwrap_or_default()));
        }
    }

    /// Changes what is known of a host, and reports it if that can be seen. `is_sign`: by a sign of life, which only the
    /// host itself can give.
    fn change(&self, id: &HostId, is_sign: bool, change: impl FnOnce(&mut Host)) {
        let mut state = self.lock();
        if state.known.len() >= MOST && !state.known.contains_key(id) {
            // To look through all of them for each name that somebody invents would take minutes.
            if state.has_no_place && !is_sign {
                return;
            }
            state.known.retain(|_, host| host.is_online);
            if is_sign && state.known.len() >= MOST {
                state.known.retain(|_, host| host.until.is_some());
            }
            state.has_no_place = state.known.len() >= MOST;
            if state.has_no_place {
                if !std::mem::replace(&mut state.is_full, true) {
                    warn!("platform: more than {MOST} hosts are online: the API lists no further ones");
                }
                return;
            }
        }
        let is_new = !state.known.contains_key(id);
        let host = state.known.entry(id.clone()).or_default();
        let before = (host.is_online, host.version.clone(), host.since);
        change(host);
        if is_new || before != (host.is_online, host.version.clone(), host.since) {
            self.changes.add(Change::Host(id.clone()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn leave(&mut self, now: SystemTime) {
        self.is_online = false;
        self.since = Some(now);
        self.until = None;
    }
}

/// The id of a run as it is remembered.
fn instance(text: &str) -> &str {
    let end = (0..=MAX_INSTANCE.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// The version as it can be shown.
fn version(text: &str) -> Option<String> {
    Some(plain(text, MAX_VERSION)).filter(|version| !version.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn hosts() -> Hosts {
        Hosts::new(Arc::default())
    }

    fn id(host: &str) -> HostId {
        host.parse().unwrap()
    }

    fn alive(host: &str, instance: &str) -> Alive {
        Alive {
            v: 1,
            host: id(host),
            instance: instance.into(),
            version: "0.2.0".into(),
            since: "2026-11-29T20:00:00Z".into(),
            every: 60,
        }
    }

    fn gone(host: &str, instance: &str) -> Gone {
        Gone { v: 1, host: id(host), instance: instance.into() }
    }

    fn present<const N: usize>(answers: [(&str, &str); N]) -> HashMap<HostId, Present> {
        answers.into_iter().map(|(host, run)| (id(host), Present::new(id(host), run, "0.1.0"))).collect()
    }

    fn online(hosts: &Hosts, host: &str) -> Option<bool> {
        hosts.find(&id(host)).map(|host| host.is_online)
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_online_while_it_gives_signs_of_life() {
        let hosts = hosts();
        hosts.alive(alive("h1", "a"));
        let host = hosts.find(&id("h1")).unwrap();
        assert_eq!((host.is_online, host.version.as_deref()), (true, Some("0.2.0")));
        assert_eq!(host.since, parse_rfc3339("2026-11-29T20:00:00Z").ok());
        tokio::time::advance(Duration::from_secs(149)).await;
        hosts.sweep();
        assert_eq!(online(&hosts, "h1"), Some(true));
        tokio::time::advance(Duration::from_secs(1)).await;
        hosts.sweep();
        assert_eq!(online(&hosts, "h1"), Some(false));
        hosts.alive(alive("h1", "a"));
        hosts.gone(&gone("h1", "b"));
        assert_eq!(online(&hosts, "h1"), Some(true), "another agent stopped");
        hosts.gone(&gone("h1", "a"));
        assert_eq!(online(&hosts, "h1"), Some(false));
        hosts.answered(present([("h1", "a")]));
        assert_eq!(online(&hosts, "h1"), Some(false), "its answer was older");
        assert_eq!(online(&hosts, "h2"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn agents_that_give_no_signs_are_online_if_they_answer() {
        let hosts = hosts();
        hosts.alive(alive("new", "a"));
        hosts.answered(present([("old", "x"), ("new", "a")]));
        let old = hosts.find(&id("old")).unwrap();
        assert_eq!((old.is_online, old.version.as_deref(), old.since), (true, Some("0.1.0"), None));
        assert_eq!(hosts.find(&id("new")).unwrap().version.as_deref(), Some("0.2.0"));
        hosts.answered(HashMap::new());
        assert_eq!((online(&hosts, "old"), online(&hosts, "new")), (Some(false), Some(true)));
        hosts.answered(present([("old", "y")]));
        assert_eq!(online(&hosts, "old"), Some(true));
    }

    #[tokio::test]
    async fn what_a_host_says_of_itself_is_cleaned() {
        let hosts = hosts();
        let version = format!("0.2\n\u{202e}{}", "x".repeat(99));
        let every = u64::MAX;
        hosts.alive(Alive { version, since: "soon".into(), every, ..alive("h1", "a") });
        let host = hosts.find(&id("h1")).unwrap();
        assert_eq!((host.version.unwrap().len(), host.since), (MAX_VERSION, None));
    }

    #[tokio::test]
    async fn a_list_has_what_the_key_may_see_in_pages() {
        let hosts = hosts();
        for host in ["web2", "web10", "db1", "Web3"] {
            hosts.alive(alive(host, "a"));
        }
        let key = |hosts: &str| {
            let text = format!("[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\nhosts = {hosts}\n");
            Folder::new().settings(&text).unwrap().policy.keys()[0].clone()
        };
        let list = |key: &ApiKey, named: &[&str], part: &str, after: Option<&str>, limit: usize| {
            let query = HostQuery { part: part.into(), after: after.map(id), limit };
            let named = named.iter().map(|host| id(host)).collect();
            let (list, more) = hosts.list(key, &named, &query);
            (list.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(" "), more)
        };
        let (all, few) = (key("['*']"), key("['web2', 'off']"));
        assert_eq!(list(&all, &["off", "web2"], "", None, 9), ("Web3 db1 off web10 web2".into(), false));
        assert_eq!(list(&all, &[], "web", None, 2), ("Web3 web10".into(), true));
        assert_eq!(list(&all, &["off"], "", Some("db1"), 2), ("off web10".into(), true));
        assert_eq!(list(&all, &[], "web", Some("web10"), 2), ("web2".into(), false));
        assert_eq!(list(&few, &["off", "web2", "db1"], "", None, 9), ("off web2".into(), false));
        assert_eq!(list(&few, &[], "", Some("zzz"), 9), (String::new(), false));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_who_is_online_stays() {
        let hosts = hosts();
        for number in 0..MOST {
            hosts.alive(alive(&format!("h{number}"), "a"));
        }
        hosts.alive(alive("late", "a"));
        assert_eq!(online(&hosts, "late"), None);
        hosts.gone(&gone("h0", "a"));
        hosts.alive(alive("late", "a"));
        assert_eq!((online(&hosts, "late"), online(&hosts, "h0")), (Some(true), None));
        assert_eq!(hosts.lock().known.len(), MOST);
    }

    #[tokio::test]
    async fn who_only_answers_takes_no_place_of_a_host_that_gives_signs_of_life() {
        let hosts = hosts();
        hosts.alive(alive("real", "a"));
        let long = "x".repeat(9999);
        let names: Vec<String> = (1..MOST).map(|number| format!("fake{number}")).collect();
        let invented = names.iter().flat_map(|name| present([(name, &long)])).collect();
        hosts.answered(invented);
        assert_eq!(hosts.lock().known.len(), MOST);
        assert!(hosts.lock().known.values().all(|host| host.instance.len() <= MAX_INSTANCE));
        // As many others, which must not take long.
        hosts.answered((1..MOST).flat_map(|number| present([(&format!("more{number}"), "b")])).collect());
        hosts.alive(alive("late", "a"));
        assert_eq!((online(&hosts, "real"), online(&hosts, "late")), (Some(true), Some(true)));
    }
}
