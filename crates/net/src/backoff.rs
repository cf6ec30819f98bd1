//! The waits between two tries or polls: doubled up to a bound, and with jitter where many would come at once.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// The least part of a wait with jitter. It is not zero, so that a peer that refuses at once does not make us spin.
const MIN_PART: f64 = 0.1;

/// Doubles from the first wait to a bound.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { first, next: first, max }
    }

    /// The next wait, exactly: for polls of something local.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        wait
    }

    /// A random part of the next wait ("full jitter"): for tries that many programs make.
    pub fn wait_jittered(&mut self) -> Duration {
        jittered(self.wait(), MIN_PART)
    }

    /// Starts again with the first wait.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random time between `min_part` of `max` and `max`.
pub fn jittered(max: Duration, min_part: f64) -> Duration {
    max.mul_f64(min_part + (1.0 - min_part) * random_fraction())
}

/// A random number from 0 to 1.
fn random_fraction() -> f64 {
    f64::from(u32::from_ne_bytes(random_bytes())) / f64::from(u32::MAX)
}

/// Random bytes for masks and jitter. Zeros if the system has none, which neither use minds.
pub fn random_bytes() -> [u8; 4] {
    let mut bytes = [0; 4];
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_bound_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(500));
        let waits: Vec<u128> = (0..5).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 500, 500]);
        backoff.reset();
        assert_eq!(backoff.wait().as_millis(), 100);
    }

    #[test]
    fn jitter_is_within_its_bounds_and_not_always_the_same() {
        let max = Duration::from_secs(1);
        let waits: Vec<Duration> = (0..20).map(|_| Backoff::new(max, max).wait_jittered()).collect();
        assert!(waits.iter().all(|wait| *wait >= max.mul_f64(MIN_PART) && *wait <= max), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
