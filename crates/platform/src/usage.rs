//! What each API key uses: requests of the last minute, and sessions that are open or wait for their client.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use protocol::token::TokenHash;

use super::policy::ApiKey;

/// Sessions of one key that are remembered before it is looked which of them are over.
const SESSIONS: usize = 64;

/// Whether the session of this token is open, or its host parked, at the relay.
type IsOpen = dyn Fn(&TokenHash) -> bool + Send + Sync;

/// The use of all keys.
#[derive(Default)]
pub(crate) struct Usage {
    keys: Mutex<HashMap<TokenHash, Use>>,
    is_open: OnceLock<Box<IsOpen>>,
}

/// The use of one key.
struct Use {
    /// Requests that may come now, and as of when.
    left: f64,
    at: Instant,
    sessions: Vec<Asked>,
    /// So many sessions are looked through next.
    look_at: usize,
}

/// A session that a host was asked for.
struct Asked {
    token: TokenHash,
    /// Until then the host may come to the relay, whatever it has answered.
    expected: Instant,
}

/// Why a key has to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// Too many requests: the next one may come after so long.
    Rate(Duration),
    /// Too many sessions are open or wait for their client.
    Open(usize),
}

impl Usage {
    /// Says where to look whether a session is open. The relay in this process knows it at any moment, however the
    /// session ends, so nothing is counted that is over, and nothing has to be reported by hosts.
    pub(crate) fn looks_at(&self, is_open: impl Fn(&TokenHash) -> bool + Send + Sync + 'static) {
        // Only once: there is one relay.
        let _ = self.is_open.set(Box::new(is_open));
    }

    /// Counts a request that makes a host work.
    ///
    /// # Errors
    /// [`Exceeded::Rate`]
    pub(crate) fn request(&self, key: &ApiKey) -> Result<(), Exceeded> {
        let Some(rate) = key.rate.map(f64::from) else { return Ok(()) };
        let mut keys = self.lock();
        let used = keys.entry(key.sha256).or_default();
        let now = Instant::now();
        let per_second = rate / 60.0;
        used.left = (used.left + (now - used.at).as_secs_f64() * per_second).min(rate);
        used.at = now;
        if used.left < 1.0 {
            return Err(Exceeded::Rate(Duration::from_secs_f64((1.0 - used.left) / per_second)));
        }
        used.left -= 1.0;
        Ok(())
    }

    /// Counts a session that a host is about to be asked for, which may dial the relay for `dial`.
    ///
    /// # Errors
    /// [`Exceeded::Open`]
    pub(crate) fn ask(&self, key: &ApiKey, token: TokenHash, dial: Duration) -> Result<(), Exceeded> {
        let mut keys = self.lock();
        let used = keys.entry(key.sha256).or_default();
        let most = key.max_open.unwrap_or(usize::MAX);
        if used.sessions.len() >= most.min(used.look_at) {
            let now = Instant::now();
            used.sessions.retain(|asked| now < asked.expected || self.is_open(&asked.token));
            used.look_at = SESSIONS.max(2 * used.sessions.len());
        }
        if used.sessions.len() >= most {
            return Err(Exceeded::Open(most));
        }
        used.sessions.push(Asked { token, expected: Instant::now() + dial });
        Ok(())
    }

    /// The host has parked its connection: from now on the relay knows.
    pub(crate) fn parked(&self, key: &ApiKey, token: &TokenHash) {
        let mut keys = self.lock();
        let mut sessions = keys.get_mut(&key.sha256).into_iter().flat_map(|used| &mut used.sessions);
        if let Some(asked) = sessions.find(|asked| asked.token == *token) {
            asked.expected = Instant::now();
        }
    }

    /// The host does not come.
    pub(crate) fn refused(&self, key: &ApiKey, token: &TokenHash) {
        if let Some(used) = self.lock().get_mut(&key.sha256) {
            used.sessions.retain(|asked| asked.token != *token);
        }
    }

    /// Forgets keys that are not there any more.
    pub(crate) fn keep(&self, keys: &[ApiKey]) {
        self.lock().retain(|hash, _| keys.iter().any(|key| key.sha256 == *hash));
    }

    /// Whether the relay has the session of this token.
    pub(crate) fn is_open(&self, token: &TokenHash) -> bool {
        self.is_open.get().is_some_and(|is_open| is_open(token))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenHash, Use>> {
        // Nothing panics while holding it.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Use {
    fn default() -> Use {
        // A minute's requests, whatever the rate is.
        Use { left: f64::INFINITY, at: Instant::now(), sessions: vec![], look_at: SESSIONS }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::super::testing::Folder;
    use super::*;

    const DIAL: Duration = Duration::from_secs(30);

    fn key(lines: &str) -> ApiKey {
        let text = format!("[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n{lines}\n");
        Folder::new().settings(&text).unwrap().policy.keys()[0].clone()
    }

    fn token(number: usize) -> TokenHash {
        TokenHash::from_secret(&number.to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_so_many_pass_at_once_and_then_as_many_a_minute() {
        let (usage, key) = (Usage::default(), key("rate = 2"));
        assert_eq!((usage.request(&key), usage.request(&key)), (Ok(()), Ok(())));
        assert_eq!(usage.request(&key), Err(Exceeded::Rate(Duration::from_secs(30))));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(usage.request(&key), Err(Exceeded::Rate(Duration::from_secs(20))));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(usage.request(&key), Ok(()));
        assert!(usage.request(&key).is_err());
        let free = ApiKey { rate: None, ..key };
        assert!((0..100).all(|_| usage.request(&free).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_count_while_a_host_may_come_or_the_relay_has_them() {
        let (usage, key) = (Usage::default(), key("max_open = 2"));
        let relay: Arc<Mutex<HashSet<TokenHash>>> = Arc::default();
        let there = relay.clone();
        usage.looks_at(move |token| there.lock().unwrap().contains(token));
        let ask = |number| usage.ask(&key, token(number), DIAL);
        // One is parked, and one was never answered.
        assert_eq!((ask(1), ask(2)), (Ok(()), Ok(())));
        relay.lock().unwrap().insert(token(1));
        usage.parked(&key, &token(1));
        assert_eq!(ask(3), Err(Exceeded::Open(2)));
        tokio::time::advance(DIAL).await;
        assert_eq!(ask(3), Ok(()));
        assert_eq!(ask(4), Err(Exceeded::Open(2)));
        usage.refused(&key, &token(3));
        assert_eq!(ask(4), Ok(()));
        // However it ends: the relay has it no more.
        relay.lock().unwrap().clear();
        assert_eq!(ask(5), Ok(()));
        usage.keep(&[]);
        assert!(usage.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_that_are_over_are_forgotten_without_a_limit_too() {
        let (usage, key) = (Usage::default(), key(""));
        for number in 0..1000 {
            usage.ask(&key, token(number), Duration::ZERO).unwrap();
        }
        assert!(usage.lock()[&key.sha256].sessions.len() <= SESSIONS);
    }
}
