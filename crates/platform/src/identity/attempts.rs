//! How often one peer may try to sign in: five times at once, and then five times a minute. Who gets in has not tried.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use service::network::{SUBSCRIBER, containing};

/// Attempts at once.
const BURST: u32 = 5;

/// One more after this time.
const EVERY: Duration = Duration::from_secs(12);

/// Networks that are remembered. With more, those are forgotten that may try again soonest.
const MOST: usize = 10_000;

#[derive(Default)]
pub(crate) struct Attempts {
    /// For each network, the moment at which all its attempts are there again.
    networks: Mutex<HashMap<IpNet, Instant>>,
    /// Whether the log has it that a proxy may be among them.
    said: AtomicBool,
}

impl Attempts {
    /// Counts an attempt of `peer`.
    ///
    /// # Errors
    /// How long it has to wait for the next one.
    pub(crate) fn count(&self, peer: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        let network = containing(peer, SUBSCRIBER);
        let mut networks = self.lock();
        if networks.len() >= MOST && !networks.contains_key(&network) {
            networks.retain(|_, full_at| now < *full_at);
            if networks.len() >= MOST {
                // Half of them at once, so that a flood does not sort them again for each of its networks.
                let mut times: Vec<Instant> = networks.values().copied().collect();
                let (_, middle, _) = times.select_nth_unstable(MOST / 2);
                let middle = *middle;
                networks.retain(|_, full_at| *full_at > middle);
            }
        }
        let full_at = networks.entry(network).or_insert(now);
        let after = (*full_at).max(now) + EVERY;
        let wait = (after - now).saturating_sub(EVERY * BURST);
        if wait.is_zero() {
            *full_at = after;
            return Ok(());
        }
        Err(wait)
    }

    /// The attempt was none: it succeeded, or was nothing to guess with.
    pub(crate) fn forgive(&self, peer: IpAddr) {
        if let Some(full_at) = self.lock().get_mut(&containing(peer, SUBSCRIBER))
            && let Some(before) = full_at.checked_sub(EVERY)
        {
            *full_at = before;
        }
    }

    /// Whether nobody has asked this before: the log says once that many users may share an address.
    pub(crate) fn is_first_of_proxy(&self) -> bool {
        !self.said.swap(true, Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpNet, Instant>> {
        // Nothing panics while holding it.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn peer(network: u64, host: u64) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from((u128::from(network) << 64) + u128::from(host)))
    }

    #[tokio::test(start_paused = true)]
    async fn five_at_once_and_five_a_minute_for_a_whole_network() {
        let attempts = Attempts::default();
        assert!((0..5).all(|host| attempts.count(peer(1, host)).is_ok()));
        assert_eq!(attempts.count(peer(1, 9)), Err(EVERY));
        assert_eq!(attempts.count(peer(2, 9)), Ok(()));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(attempts.count(peer(1, 1)), Err(Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(attempts.count(peer(1, 1)), Ok(()));
        assert!(attempts.count(peer(1, 1)).is_err());
        attempts.forgive(peer(1, 1));
        assert_eq!(attempts.count(peer(1, 1)), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_who_waits_longest_is_remembered() {
        let attempts = Attempts::default();
        assert_eq!((0..6).filter(|_| attempts.count(peer(0, 0)).is_ok()).count(), 5);
        for network in 1..20_000 {
            attempts.count(peer(network, 0)).unwrap();
        }
        assert!(attempts.lock().len() <= MOST);
        assert!(attempts.count(peer(0, 0)).is_err());
    }
}
