//! What the two pumps of a bridge share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::credit::Credit;
use websocket::connection::StopSignal;

#[derive(Default)]
pub(super) struct Shared {
    pub(super) stop_signal: StopSignal,
    pub(super) from_peer: AtomicU64,
    pub(super) to_peer: AtomicU64,
    pub(super) credit: Credit,
    /// The local side reset its connection while it was written to. Reading then shows only an end.
    pub(super) was_reset: AtomicBool,
    input_over: AtomicBool,
    input_end: tokio::sync::Notify,
}

impl Shared {
    /// Nothing more can be written to the local side: the peer has ended its direction, or the local side takes no
    /// more.
    pub(super) fn input_is_over(&self) {
        self.input_over.store(true, Ordering::Relaxed);
        self.input_end.notify_one();
    }

    /// Waits until nothing more can be written to the local side.
    pub(super) async fn input_end(&self) {
        while !self.input_over.load(Ordering::Relaxed) {
            self.input_end.notified().await;
        }
    }
}
