//! What has changed lately, for those who wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use protocol::grant::unix;
use protocol::host::HostId;
use protocol::token::TokenHash;

use super::policy::ApiKey;

/// How long a request waits for a change.
const WAIT: Duration = Duration::from_secs(25);

/// Further changes within this time are reported with the first.
const TOGETHER: Duration = Duration::from_millis(200);

/// Changes that are remembered. A caller that knows only older ones hears that everything may have changed.
const REMEMBERED: usize = 4096;

/// Requests of one key that may wait at once.
const WAITING: usize = 32;

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Hosts,
    Sessions,
}

pub(crate) struct Changes {
    last: Mutex<Last>,
    at: watch::Sender<u64>,
    waiting: Mutex<HashMap<TokenHash, usize>>,
}

struct Last {
    at: u64,
    /// The number of each change, and the host that it is about; none if everything may have changed.
    changes: VecDeque<(u64, Option<(What, HostId)>)>,
}

/// The changes after some number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The number of the last change.
    pub at: u64,
    pub what: Vec<What>,
}

/// The key has as many requests that wait as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooManyWait(pub usize);

impl Default for Changes {
    fn default() -> Changes {
        // Numbers of an earlier run are smaller: no run has more than a thousand changes in each of its seconds.
        let at = unix(SystemTime::now()) * 1000;
        let last = Mutex::new(Last { at, changes: VecDeque::new() });
        Changes { last, at: watch::Sender::new(at), waiting: Mutex::default() }
    }
}

impl Changes {
    /// Something has changed that is about this host.
    pub(crate) fn add(&self, what: What, host: &HostId) {
        self.push(Some((what, host.clone())));
    }

    /// Everything may have changed, for everybody.
    pub(crate) fn add_all(&self) {
        self.push(None);
    }

    fn push(&self, change: Option<(What, HostId)>) {
        let at = {
            let mut last = self.last();
            last.at += 1;
            let at = last.at;
            last.changes.push_back((at, change));
            if last.changes.len() > REMEMBERED {
                last.changes.pop_front();
            }
            at
        };
        self.at.send_replace(at);
    }

    /// What has changed after `after` that this key may know of. Waits if that is nothing.
    ///
    /// # Errors
    /// If too many wait with this key.
    pub(crate) async fn wait(
        self: &Arc<Changes>,
        after: Option<u64>,
        key: &ApiKey,
    ) -> Result<Changed, TooManyWait> {
        let Some(after) = after else {
            return Ok(Changed { at: self.last().at, what: vec![What::Hosts, What::Sessions] });
        };
        let mut changed = self.since(after, key);
        if changed.what.is_empty() {
            let _waiting = Waiting::new(self.clone(), key.sha256)?;
            let mut at = self.at.subscribe();
            let come = async {
                // What came before the subscription is seen, too.
                while self.since(after, key).what.is_empty() {
                    if at.changed().await.is_err() {
                        break;
                    }
                }
                sleep(TOGETHER).await;
            };
            // Nothing within the time is an answer as well.
            let _ = timeout(WAIT, come).await;
            changed = self.since(after, key);
        }
        Ok(changed)
    }

    fn since(&self, after: u64, key: &ApiKey) -> Changed {
        let last = self.last();
        let first = last.changes.front().map_or(last.at + 1, |(at, _)| *at);
        // From another run, or too long ago.
        let is_unknown = after > last.at || after + 1 < first;
        let new = last.changes.iter().rev().take_while(|(at, _)| *at > after);
        let new: Vec<_> = new.map(|(_, change)| change).collect();
        let has = |what| {
            is_unknown
                || new.iter().any(|change| match change {
                    Some((changed, host)) => *changed == what && key.may_see(host),
                    None => true,
                })
        };
        let what = [What::Hosts, What::Sessions].into_iter().filter(|what| has(*what)).collect();
        Changed { at: last.at, what }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        // Nothing panics while holding it.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<TokenHash, usize>> {
        // Nothing panics while holding it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that waits, as long as it is there.
struct Waiting {
    changes: Arc<Changes>,
    key: TokenHash,
}

impl Waiting {
    fn new(changes: Arc<Changes>, key: TokenHash) -> Result<Waiting, TooManyWait> {
        {
            let mut waiting = changes.waiting();
            let count = waiting.entry(key).or_default();
            if *count >= WAITING {
                return Err(TooManyWait(WAITING));
            }
            *count += 1;
        }
        Ok(Waiting { changes, key })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.changes.waiting();
        if let Some(count) = waiting.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn key(hosts: &str) -> ApiKey {
        let text = format!("[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\nhosts = {hosts}\n");
        Folder::new().settings(&text).unwrap().policy.keys()[0].clone()
    }

    fn host(name: &str) -> HostId {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_of_the_hosts_that_the_key_may_see() {
        let (changes, all, one) = (Arc::new(Changes::default()), key("['*']"), key("['h1']"));
        let first = changes.wait(None, &all).await.unwrap();
        assert_eq!(first.what, [What::Hosts, What::Sessions]);
        let waiting = |key: &ApiKey| {
            let (changes, key) = (changes.clone(), key.clone());
            tokio::spawn(async move { changes.wait(Some(first.at), &key).await.unwrap() })
        };
        let (of_all, of_one) = (waiting(&all), waiting(&one));
        tokio::task::yield_now().await;
        changes.add(What::Hosts, &host("h2"));
        changes.add(What::Hosts, &host("h2"));
        assert_eq!(of_all.await.unwrap(), Changed { at: first.at + 2, what: vec![What::Hosts] });
        let nothing = of_one.await.unwrap();
        assert_eq!(nothing, Changed { at: first.at + 2, what: vec![] }, "25 s later");
        changes.add(What::Sessions, &host("h1"));
        assert_eq!(changes.wait(Some(nothing.at), &one).await.unwrap().what, [What::Sessions], "at once");
        assert!(changes.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_only_what_is_forgotten_is_told_everything() {
        let (changes, one) = (Arc::new(Changes::default()), key("['h1']"));
        let at = changes.last().at;
        (0..=REMEMBERED).for_each(|_| changes.add(What::Hosts, &host("h2")));
        let everything = vec![What::Hosts, What::Sessions];
        assert_eq!(changes.wait(Some(at), &one).await.unwrap().what, everything);
        assert_eq!(changes.wait(Some(u64::MAX - 1), &one).await.unwrap().what, everything);
        assert_eq!(changes.since(at + 1, &one).what, []);
        changes.add_all();
        assert_eq!(changes.since(at + 2, &one).what, everything);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_has_so_many_requests_that_wait_and_those_that_left_do_not_count() {
        let (changes, key) = (Arc::new(Changes::default()), key("['*']"));
        let at = changes.last().at;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            let (changes, key) = (changes.clone(), key.clone());
            tasks.spawn(async move { changes.wait(Some(at), &key).await.map(drop) });
        }
        tokio::task::yield_now().await;
        assert_eq!(changes.wait(Some(at), &key).await, Err(TooManyWait(WAITING)));
        tasks.shutdown().await;
        assert!(changes.waiting().is_empty());
    }
}
