//! What has changed lately, for those who wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use protocol::host::HostId;
use protocol::token::TokenHash;

use super::numbers::Numbers;
use super::policy::ApiKey;

/// How long a request waits for a change.
const WAIT: Duration = Duration::from_secs(25);

/// Further changes within this time are reported with the first.
const TOGETHER: Duration = Duration::from_millis(200);

/// Changes that are remembered. A caller that knows only older ones hears that everything may have changed.
const REMEMBERED: usize = 4096;

/// Requests of one user that may wait at once, and of all users of one key.
const OF_USER: usize = 32;
const OF_KEY: usize = 512;

/// What a page shows that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Hosts,
    Sessions,
}

/// What has changed, and so who may know of it.
#[derive(Debug)]
pub(crate) enum Change {
    Host(HostId),
    Session {
        host: HostId,
        target: String,
        /// Whether this platform has opened it.
        is_own: bool,
    },
    /// Everything may have, for everybody.
    All,
}

impl Change {
    /// Whether the key sees it there.
    fn is_seen(&self, what: What, key: &ApiKey) -> bool {
        match (self, what) {
            (Change::Host(host), What::Hosts) => key.may_see(host),
            (Change::Session { host, target, is_own }, What::Sessions) => key.may_end(host, target, *is_own),
            (Change::All, _) => true,
            _ => false,
        }
    }
}

pub(crate) struct Changes {
    last: Mutex<Last>,
    came: watch::Sender<()>,
    waiting: Mutex<Waiters>,
}

/// How many requests wait, by key and user.
type Waiters = HashMap<TokenHash, HashMap<String, usize>>;

struct Last {
    numbers: Numbers,
    /// The number of the last change that is not remembered any more.
    forgotten: u64,
    changes: VecDeque<(u64, Change)>,
}

/// The changes after some number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// What comes later has a larger number.
    pub at: u64,
    pub what: Vec<What>,
}

/// As many requests wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TooManyWait {
    OfUser(usize),
    OfKey(usize),
}

impl Default for Changes {
    fn default() -> Changes {
        let mut numbers = Numbers::default();
        let last = Last { forgotten: numbers.now(), numbers, changes: VecDeque::new() };
        Changes { last: Mutex::new(last), came: watch::Sender::new(()), waiting: Mutex::default() }
    }
}

impl Changes {
    /// Something has changed.
    pub(crate) fn add(&self, change: Change) {
        {
            let mut last = self.last();
            let at = last.numbers.next();
            last.changes.push_back((at, change));
            if last.changes.len() > REMEMBERED
                && let Some((at, _)) = last.changes.pop_front()
            {
                last.forgotten = at;
            }
        }
        self.came.send_replace(());
    }

    /// What has changed after `after` that a user of this key may know of. Waits if that is nothing: what others may
    /// know wakes nobody else.
    ///
    /// # Errors
    /// If too many wait.
    pub(crate) async fn wait(
        self: &Arc<Changes>,
        after: Option<u64>,
        key: &ApiKey,
        user: &str,
    ) -> Result<Changed, TooManyWait> {
        let Some(after) = after else {
            return Ok(Changed { at: self.last().numbers.now(), what: vec![What::Hosts, What::Sessions] });
        };
        let mut changed = self.since(after, key);
        if changed.what.is_empty() {
            let _waiting = Waiting::new(self.clone(), key.sha256, user)?;
            let mut came = self.came.subscribe();
            // What was nothing for this key is not looked at again, and may be forgotten meanwhile.
            let mut seen = changed.at;
            let come = async {
                loop {
                    // What came before the subscription is seen, too.
                    let new = self.since(seen, key);
                    if !new.what.is_empty() || came.changed().await.is_err() {
                        break;
                    }
                    seen = new.at;
                }
                sleep(TOGETHER).await;
            };
            // Nothing within the time is an answer as well.
            let _ = timeout(WAIT, come).await;
            changed = self.since(seen, key);
        }
        Ok(changed)
    }

    fn since(&self, after: u64, key: &ApiKey) -> Changed {
        let mut last = self.last();
        let at = last.numbers.now();
        // From another run, or too long ago.
        let is_unknown = after > at || after < last.forgotten;
        let new = || last.changes.iter().rev().map_while(|(at, change)| (*at > after).then_some(change));
        let has = |what: &What| is_unknown || new().any(|change| change.is_seen(*what, key));
        Changed { at, what: [What::Hosts, What::Sessions].into_iter().filter(has).collect() }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        // Nothing panics while holding it.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiters> {
        // Nothing panics while holding it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that waits, as long as it is there.
struct Waiting {
    changes: Arc<Changes>,
    key: TokenHash,
    user: String,
}

impl Waiting {
    fn new(changes: Arc<Changes>, key: TokenHash, user: &str) -> Result<Waiting, TooManyWait> {
        {
            let mut waiting = changes.waiting();
            let users = waiting.entry(key).or_default();
            if users.get(user).is_some_and(|count| *count >= OF_USER) {
                return Err(TooManyWait::OfUser(OF_USER));
            }
            if users.values().sum::<usize>() >= OF_KEY {
                return Err(TooManyWait::OfKey(OF_KEY));
            }
            *users.entry(user.to_owned()).or_default() += 1;
        }
        Ok(Waiting { changes, key, user: user.to_owned() })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.changes.waiting();
        let Some(users) = waiting.get_mut(&self.key) else { return };
        if let Some(count) = users.get_mut(&self.user) {
            *count -= 1;
        }
        users.retain(|_, count| *count > 0);
        if users.is_empty() {
            waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn key(lines: &str) -> ApiKey {
        let text = format!("[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n{lines}\n");
        Folder::new().settings(&text).unwrap().policy.keys()[0].clone()
    }

    fn host(name: &str) -> Change {
        Change::Host(name.parse().unwrap())
    }

    fn session(target: &str, is_own: bool) -> Change {
        Change::Session { host: "h1".parse().unwrap(), target: target.into(), is_own }
    }

    fn waiting(
        changes: &Arc<Changes>,
        after: u64,
        key: &ApiKey,
    ) -> tokio::task::JoinHandle<Result<Changed, TooManyWait>> {
        let (changes, key) = (changes.clone(), key.clone());
        tokio::spawn(async move { changes.wait(Some(after), &key, "me").await })
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_a_key_may_see_wakes_who_waits_with_it() {
        let changes = Arc::new(Changes::default());
        let (all, one, log) =
            (key(""), key("hosts = ['h1']"), key("hosts = ['h1']\ntargets = ['log']\nusers = []"));
        let first = changes.wait(None, &all, "me").await.unwrap();
        assert_eq!(first.what, [What::Hosts, What::Sessions]);
        for (change, [by_all, by_one, by_log]) in [
            (host("h2"), [Some(What::Hosts), None, None]),
            (host("h1"), [Some(What::Hosts); 3]),
            (session("shell", true), [Some(What::Sessions), Some(What::Sessions), None]),
            (session("log", true), [Some(What::Sessions); 3]),
            // Of another platform: only a key for the whole host sees it.
            (session("log", false), [Some(What::Sessions), Some(What::Sessions), None]),
        ] {
            let text = format!("{change:?}");
            let at = changes.last().numbers.now();
            let began = tokio::time::Instant::now();
            let tasks = [&all, &one, &log].map(|key| waiting(&changes, at, key));
            tokio::task::yield_now().await;
            changes.add(change);
            for (task, seen) in tasks.into_iter().zip([by_all, by_one, by_log]) {
                let changed = task.await.unwrap().unwrap();
                assert_eq!(changed.what, seen.into_iter().collect::<Vec<_>>(), "{text}");
                // The clock stands still except while everybody waits.
                let waited = if seen.is_some() { TOGETHER } else { WAIT };
                assert_eq!(began.elapsed(), waited, "{text}");
            }
        }
        assert!(changes.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn how_much_others_do_is_not_to_be_seen() {
        let (changes, one) = (Arc::new(Changes::default()), key("hosts = ['h1']"));
        let at = changes.last().numbers.now();
        let began = tokio::time::Instant::now();
        let task = waiting(&changes, at, &one);
        for _ in 0..=REMEMBERED {
            tokio::task::yield_now().await;
            changes.add(host("h2"));
        }
        let quiet = task.await.unwrap().unwrap();
        let passed = u64::try_from(began.elapsed().as_micros()).unwrap();
        assert_eq!(quiet, Changed { at: at + passed, what: vec![] }, "more than are remembered");
        changes.add(host("h1"));
        assert_eq!(changes.wait(Some(quiet.at), &one, "me").await.unwrap().what, [What::Hosts], "at once");
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_only_what_is_forgotten_is_told_everything() {
        let (changes, one) = (Arc::new(Changes::default()), key("hosts = ['h1']"));
        let at = changes.last().numbers.now();
        (0..=REMEMBERED).for_each(|_| changes.add(host("h2")));
        let everything = vec![What::Hosts, What::Sessions];
        for unknown in [at, 0, u64::MAX - 1] {
            assert_eq!(changes.wait(Some(unknown), &one, "me").await.unwrap().what, everything);
        }
        assert_eq!(changes.since(at + 1, &one).what, []);
        changes.add(Change::All);
        assert_eq!(changes.since(at + 2, &one).what, everything);
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_waits_too_often_keeps_no_other_user_of_the_key_out() {
        let (changes, key) = (Arc::new(Changes::default()), key(""));
        let at = changes.last().numbers.now();
        let wait = |user: &str| Waiting::new(changes.clone(), key.sha256, user);
        let mut there: Vec<_> = (0..OF_USER).map(|_| wait("alice").ok()).collect();
        let refused = changes.wait(Some(at), &key, "alice").await;
        assert_eq!(refused, Err(TooManyWait::OfUser(OF_USER)));
        assert!(wait("bob").is_ok());
        there.extend((OF_USER..OF_KEY).map(|number| wait(&number.to_string()).ok()));
        assert_eq!(wait("bob").err(), Some(TooManyWait::OfKey(OF_KEY)));
        drop(there);
        // One that leaves while it waits.
        let task = waiting(&changes, at, &key);
        tokio::task::yield_now().await;
        assert!(!changes.waiting().is_empty());
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(changes.waiting().is_empty());
    }
}
