//! Waiting times between tries, doubled and jittered.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// Doubles from `first` to `most`; each wait is a random part of that ("full jitter").
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Begins at `first` and never waits longer than `most`.
    pub fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { next: first, most }
    }

    /// How long to wait before the next try.
    pub fn wait(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.most);
        // Never zero: a peer that refuses at once must not make us spin.
        bound.mul_f64(0.1 + 0.9 * random_fraction())
    }
}

/// A random number from 0 to 1.
pub fn random_fraction() -> f64 {
    f64::from(u32::from_ne_bytes(random_bytes())) / f64::from(u32::MAX)
}

/// Random bytes. Should the system have none to give, zeros: only masks and jitter are made of them.
pub fn random_bytes() -> [u8; 4] {
    let mut bytes = [0; 4];
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_are_never_zero() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<Duration> = (0..20).map(|_| backoff.wait()).collect();
        assert!(
            waits.iter().all(|wait| *wait >= Duration::from_millis(10) && *wait <= Duration::from_secs(1))
        );
        assert!(waits[0] <= Duration::from_millis(100));
    }
}
