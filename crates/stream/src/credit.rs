//! Flow control by acknowledgements of the peer: limits the bytes that were sent and not yet acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Unacknowledged bytes after which a target is paused; a browser terminal renders as many in about 0.1 s.
pub const WINDOW: u64 = 256 * 1024;

/// Sent minus acknowledged bytes. A peer that never acknowledges does not use this, and is not limited.
#[derive(Debug, Default)]
pub struct Credit {
    takes_part: AtomicBool,
    open: AtomicU64,
    granted: Notify,
}

impl Credit {
    /// Counts bytes that were sent.
    pub fn sent(&self, bytes: u64) {
        self.open.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that the peer consumed. More than was sent counts as all of it.
    pub fn acknowledged(&self, bytes: u64) {
        self.takes_part.store(true, Ordering::Relaxed);
        let less = |open: u64| Some(open.saturating_sub(bytes));
        // Cannot fail: the update function always returns `Some`.
        let _ = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.granted.notify_one();
    }

    /// Waits until more may be sent.
    pub async fn ready(&self) {
        while self.takes_part.load(Ordering::Relaxed) && self.open.load(Ordering::Relaxed) >= WINDOW {
            self.granted.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_peer_that_acknowledges_is_waited_for() {
        let credit = Credit::default();
        credit.sent(10 * WINDOW);
        credit.ready().await;
        credit.acknowledged(WINDOW);
        let still = tokio::time::timeout(std::time::Duration::from_millis(10), credit.ready());
        assert!(still.await.is_err());
        credit.acknowledged(u64::MAX);
        credit.ready().await;
    }
}
