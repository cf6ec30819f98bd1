//! Who signed out before a cookie ended by itself. It is in a file, so that a restart brings no cookie back.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::warn;

use protocol::grant::unix;

use super::cookie::{Cookie, LIFETIME};
use super::state_file;

const FILE: &str = "signed-out.json";

/// Entries of each kind. With more, those go that would be forgotten first.
const MOST: usize = 10_000;

pub(super) struct SignedOut {
    dir: PathBuf,
    list: Mutex<List>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    /// When a user signed out everywhere, in milliseconds since 1970.
    #[serde(default)]
    users: HashMap<String, u64>,
    /// Cookies by their ids, and until when each would have been good, in seconds since 1970.
    #[serde(default)]
    cookies: HashMap<String, u64>,
}

impl SignedOut {
    /// Reads the file of `dir`, if there is one.
    pub(super) fn open(dir: &Path) -> SignedOut {
        let file = dir.join(FILE);
        let list = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                warn!(
                    "platform: {} is not understood ({error}): who signed out has cookies again",
                    file.display()
                );
                List::default()
            }),
            // There is none before the first one signs out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => List::default(),
            Err(error) => {
                warn!("platform: cannot read {} ({error}): who signed out has cookies again", file.display());
                List::default()
            }
        };
        SignedOut { dir: dir.to_owned(), list: Mutex::new(list) }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The user's epoch: cookies with a smaller one are good no more.
    pub(super) fn epoch(&self, user: &str) -> u64 {
        self.lock().users.get(user).copied().unwrap_or_default()
    }

    /// Whether this cookie, or its user everywhere, signed out.
    pub(super) fn has(&self, cookie: &Cookie) -> bool {
        let list = self.lock();
        list.cookies.contains_key(&cookie.id)
            || list.users.get(&cookie.account.user).is_some_and(|epoch| cookie.epoch < *epoch)
    }

    /// Ends one cookie. Waits for the disk.
    ///
    /// # Errors
    /// If that will be forgotten at the next restart.
    pub(super) fn end(&self, cookie: &Cookie, now: SystemTime) -> Result<(), String> {
        self.change(now, |list| {
            list.cookies.insert(cookie.id.clone(), cookie.exp);
        })
    }

    /// Ends all cookies of a user. Waits for the disk.
    ///
    /// # Errors
    /// If that will be forgotten at the next restart.
    pub(super) fn end_all(&self, user: &str, now: SystemTime) -> Result<(), String> {
        self.change(now, |list| {
            // Whatever the clock does, an epoch only grows.
            let last = list.users.get(user).copied().unwrap_or_default();
            list.users.insert(user.to_owned(), milliseconds(now).max(last + 1));
        })
    }

    fn change(&self, now: SystemTime, change: impl FnOnce(&mut List)) -> Result<(), String> {
        let mut list = self.lock();
        change(&mut list);
        list.forget_what_is_over(now);
        let text = serde_json::to_vec(&*list).map_err(|error| error.to_string())?;
        // The lock is held meanwhile: only one thread may write the file.
        state_file::write(&self.dir, FILE, &text).map_err(|error| {
            let file = self.dir.join(FILE);
            format!("signed out, but only until the relay restarts: cannot write {}: {error}", file.display())
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        // Nothing panics while holding it.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn forget_what_is_over(&mut self, now: SystemTime) {
        self.cookies.retain(|_, exp| *exp > unix(now));
        // Each cookie from before has ended by itself.
        let oldest = milliseconds(now.checked_sub(LIFETIME).unwrap_or(UNIX_EPOCH));
        self.users.retain(|_, epoch| *epoch > oldest);
        shorten(&mut self.cookies);
        shorten(&mut self.users);
    }
}

fn shorten(entries: &mut HashMap<String, u64>) {
    if entries.len() > MOST {
        let mut ends: Vec<u64> = entries.values().copied().collect();
        ends.sort_unstable();
        let first_kept = ends[entries.len() - MOST];
        entries.retain(|_, end| *end >= first_kept);
    }
}

fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::account::Account;
    use super::*;

    fn cookie(user: &str, epoch: u64, now: SystemTime) -> Cookie {
        let account = Account { key: "k".into(), print: "p".into(), user: user.into() };
        Cookie::new(account, epoch, now)
    }

    #[test]
    fn one_cookie_or_all_of_a_user_end_and_stay_so_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let (one, other, bob) = (cookie("alice", 0, now), cookie("alice", 0, now), cookie("bob", 0, now));
        let state = SignedOut::open(dir.path());
        state.end(&one, now).unwrap();
        assert!(state.has(&one) && !state.has(&other));
        state.end_all("alice", now).unwrap();
        let again = SignedOut::open(dir.path());
        assert!(again.has(&one) && again.has(&other) && !again.has(&bob));
        let new = cookie("alice", again.epoch("alice"), now);
        assert!(!again.has(&new));
        again.end_all("alice", now).unwrap();
        assert!(again.has(&new), "also twice in one moment");
    }

    #[test]
    fn what_ended_by_itself_is_forgotten_and_the_list_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let state = SignedOut::open(dir.path());
        state.end(&cookie("alice", 0, now), now).unwrap();
        state.end_all("alice", now).unwrap();
        let later = now + LIFETIME + Duration::from_secs(1);
        let new = cookie("alice", state.epoch("alice"), later);
        state.end_all("bob", later).unwrap();
        let kept = |list: &List| (list.cookies.len(), list.users.len());
        assert_eq!(kept(&state.lock()), (0, 1));
        assert!(!state.has(&new), "a cookie of a forgotten epoch goes on");
        let mut many: HashMap<_, _> = (0..=MOST as u64).map(|n| (n.to_string(), n)).collect();
        shorten(&mut many);
        assert!(many.len() == MOST && !many.contains_key("0"));
    }

    #[test]
    fn without_a_disk_it_counts_until_the_restart() {
        let dir = tempfile::tempdir().unwrap();
        let state = SignedOut::open(&dir.path().join("gone"));
        let (now, alice) = (SystemTime::now(), cookie("alice", 0, SystemTime::now()));
        assert!(state.end(&alice, now).unwrap_err().contains("only until the relay restarts"));
        assert!(state.has(&alice));
    }
}
