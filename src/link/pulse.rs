//! Whether a peer is still there: pings it did not answer, counted only while we listen.

use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// The time between pings unless configured: middleboxes cut idle websockets at 50 to 60 s.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(20);

/// Pings without any sign of life after which a peer is dead: within three intervals, so 60 s.
const MISSED: u32 = 2;

/// The life of one leg, shared by the pump that reads it and the pump that writes it.
#[derive(Debug, Default)]
pub struct Pulse {
    unanswered: AtomicU32,
    /// False while the reading pump is busy elsewhere: then silence proves nothing.
    listening: AtomicBool,
    /// The payload of the newest ping from the peer that is not yet answered.
    pong: Mutex<Option<Vec<u8>>>,
    asked: AtomicWaker,
}

impl Pulse {
    /// The peer sent something.
    pub fn heard(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Whether the reading pump now waits for the peer.
    pub fn listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
    }

    /// The peer sent a ping: only the newest needs an answer (RFC 6455 section 5.5.3).
    pub fn asked(&self, payload: Vec<u8>) {
        *self.pong() = Some(payload);
        self.asked.wake();
    }

    /// Waits until a pong is owed, and takes it. For one task at a time.
    pub async fn owed(&self) -> Vec<u8> {
        poll_fn(|cx| {
            // Before the look: what is asked after it wakes us.
            self.asked.register(cx.waker());
            self.pong().take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// It is time for the next ping. False: the peer is dead instead.
    pub fn beat(&self) -> bool {
        if !self.listening.load(Ordering::Relaxed) {
            self.heard();
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed) < MISSED
    }

    fn pong(&self) -> std::sync::MutexGuard<'_, Option<Vec<u8>>> {
        self.pong.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// When the next ping is due: jittered, so that thousands of streams do not beat at once.
#[derive(Debug)]
pub struct Beat {
    interval: Duration,
    next: Instant,
}

impl Beat {
    /// The first ping is due within one interval.
    pub fn every(interval: Duration) -> Beat {
        Beat { interval, next: Instant::now() + jittered(interval) }
    }

    /// The moment the ping is due.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// A ping was sent: the next one is due an interval from now.
    pub fn sent(&mut self) {
        self.next = Instant::now() + jittered(self.interval);
    }
}

/// 85 to 100 % of the interval: shorter only, so that the promised maximum holds.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.85 + 0.15 * super::backoff::random_fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_unanswered_pings_are_death_but_only_while_we_listen() {
        let pulse = Pulse::default();
        pulse.listening(true);
        assert_eq!([pulse.beat(), pulse.beat(), pulse.beat()], [true, true, false]);
        pulse.heard();
        assert_eq!([pulse.beat(), pulse.beat()], [true, true]);
        pulse.listening(false);
        assert!((0..10).all(|_| pulse.beat()));
    }
}
