//! A signal from the watcher to the reader that something has changed.

use std::sync::{Mutex, PoisonError};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Changed {
    /// When the oldest change was noticed that the reader has not taken.
    since: Mutex<Option<Instant>>,
    pub(super) waker: AtomicWaker,
}

impl Changed {
    pub(super) fn notify(&self) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        self.waker.wake();
    }

    pub(super) fn since(&self) -> Option<Instant> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}
