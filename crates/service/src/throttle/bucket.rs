//! A token bucket.

use std::time::Duration;

use tokio::time::Instant;

/// How many lines a bucket admits.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Lines at once, at least 1.
    pub burst: u32,
    /// The time after which one more is admitted.
    pub every: Duration,
}

/// Its state is the time at which it will be full again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(super) fn full(now: Instant) -> Bucket {
        Bucket { full_at: now }
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Takes one token, if there is one.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let full_at = self.full_at.max(now) + rate.every;
        let has_token = full_at - now <= rate.every * rate.burst;
        if has_token {
            self.full_at = full_at;
        }
        has_token
    }
}
