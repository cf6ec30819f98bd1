//! Whether a peer is alive: counts the pings that it does not answer while it is being read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use net::backoff::jittered;

/// The time between pings, if not configured: middleboxes cut websockets that are idle for 50 to 60 s.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(20);

/// Unanswered pings after which a peer is dead: within three intervals, so 60 s by default.
const MAX_UNANSWERED: u32 = 2;

/// Pings that may wait for their answers, 125 bytes each: bounds the queue for a peer that reads nothing.
const MAX_PONGS: usize = 16;

/// Whether the peer of one websocket is alive, shared by the pump that reads it and the pump that writes it.
#[derive(Debug, Default)]
pub struct Keepalive {
    unanswered: AtomicU32,
    /// False while the websocket is not being read: then silence proves nothing.
    listening: AtomicBool,
    /// The payloads of the peer's unanswered pings, oldest first.
    pongs: Mutex<VecDeque<Vec<u8>>>,
    pong_due: AtomicWaker,
}

impl Keepalive {
    /// Records that the peer sent something, so it is alive.
    pub fn received(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Records whether the websocket is being read now. Unanswered pings count only meanwhile.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
    }

    /// Records a ping of the peer, which will be answered. If more than [`MAX_PONGS`] wait, only the newest is answered
    /// (RFC 6455 section 5.5.3).
    pub fn ping_received(&self, payload: Vec<u8>) {
        let mut pongs = self.pongs();
        if pongs.len() == MAX_PONGS {
            pongs.clear();
        }
        pongs.push_back(payload);
        drop(pongs);
        self.pong_due.wake();
    }

    /// Waits for a ping that is not answered yet, and returns its payload. For one task at a time.
    pub async fn next_pong(&self) -> Vec<u8> {
        poll_fn(|cx| {
            // Before the queue is read: a ping that arrives after that wakes the task.
            self.pong_due.register(cx.waker());
            self.take_pong().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Counts the next ping. False: the peer is dead, and the ping must not be sent.
    fn count_ping(&self) -> bool {
        if !self.listening.load(Ordering::Relaxed) {
            self.received();
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed) < MAX_UNANSWERED
    }

    fn take_pong(&self) -> Option<Vec<u8>> {
        let mut pongs = self.pongs();
        let oldest = pongs.pop_front();
        if oldest.is_some() && pongs.is_empty() {
            // Frees the memory of an idle stream.
            *pongs = VecDeque::new();
        }
        oldest
    }

    fn pongs(&self) -> std::sync::MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.pongs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The least part of an interval between pings. Jitter only shortens it, so that a dead peer is found in the
/// documented time.
const MIN_PART: f64 = 0.85;

/// When the next ping is due; with jitter, so that thousands of streams do not ping at the same time.
#[derive(Debug)]
pub struct PingTimer {
    interval: Duration,
    next: Instant,
}

impl PingTimer {
    /// The first ping is due within one interval.
    pub fn new(interval: Duration) -> PingTimer {
        PingTimer { interval, next: Instant::now() + jittered(interval, MIN_PART) }
    }

    /// When the next ping is due.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Counts the ping that is due, and schedules the next. False: the peer is dead, so none must be sent.
    pub fn advance(&mut self, keepalive: &Keepalive) -> bool {
        let is_alive = keepalive.count_ping();
        if is_alive {
            self.next = Instant::now() + jittered(self.interval, MIN_PART);
        }
        is_alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_ping_is_answered_and_of_a_flood_the_newest() {
        let keepalive = Keepalive::default();
        let numbers = |from: usize, to: usize| (from..to).map(|number| number.to_be_bytes().to_vec());
        numbers(0, MAX_PONGS).for_each(|payload| keepalive.ping_received(payload));
        for payload in numbers(0, MAX_PONGS) {
            assert_eq!(keepalive.next_pong().await, payload);
        }
        numbers(0, MAX_PONGS + 2).for_each(|payload| keepalive.ping_received(payload));
        for payload in numbers(MAX_PONGS, MAX_PONGS + 2) {
            assert_eq!(keepalive.next_pong().await, payload);
        }
        assert_eq!(keepalive.take_pong(), None);
    }

    #[test]
    fn two_unanswered_pings_are_death_but_only_while_it_is_read() {
        let keepalive = Keepalive::default();
        keepalive.set_listening(true);
        assert_eq!(
            [keepalive.count_ping(), keepalive.count_ping(), keepalive.count_ping()],
            [true, true, false]
        );
        keepalive.received();
        assert_eq!([keepalive.count_ping(), keepalive.count_ping()], [true, true]);
        keepalive.set_listening(false);
        assert!((0..10).all(|_| keepalive.count_ping()));
    }
}
