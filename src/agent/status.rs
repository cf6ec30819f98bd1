//! The one line that `systemctl status` shows: what is wrong first, then what goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::daemon::notify;

/// The parts of the status. Clones are the same status.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    is_ready: bool,
    /// Whether commands reach us now.
    is_heard: bool,
    nats: String,
    unhealthy: Option<String>,
    doubled: Option<String>,
    trouble: Option<String>,
    reload: Option<String>,
    streams: u32,
}

impl Status {
    /// The start is over, for the first caller: commands are heard, or have been waited for long enough.
    pub fn ready(&self) {
        if !std::mem::replace(&mut self.lock().is_ready, true) {
            notify::ready(&self.line());
        }
    }

    /// A reload begins. Before we are ready it is no more than a part of the start.
    pub fn reloading(&self) {
        if self.lock().is_ready {
            notify::reloading();
        }
    }

    /// A reload has ended; `wrong` says why it failed or is not enough.
    pub fn reloaded(&self, wrong: Option<String>) {
        self.set(|parts| parts.reload = wrong);
        if self.lock().is_ready {
            notify::ready(&self.line());
        }
    }

    /// Why commands do not reach us.
    pub fn unheard(&self, why: impl std::fmt::Display) {
        self.set(|parts| {
            parts.is_heard = false;
            parts.nats = format!("not ready: {why}");
        });
    }

    /// Commands reach us.
    pub fn heard(&self) {
        self.set(|parts| {
            parts.is_heard = true;
            parts.nats = "NATS connected".into();
        });
    }

    /// Something that the connection to NATS says of itself, and that does not end it.
    pub fn nats(&self, text: String) {
        if self.lock().is_heard { self.set(|parts| parts.nats = text) } else { self.unheard(text) }
    }

    /// Why the watchdog gets no sign of life; `None`: it gets them.
    pub fn unhealthy(&self, why: Option<&str>) {
        self.set(|parts| parts.unhealthy = why.map(|why| format!("unhealthy: {why}")));
    }

    /// Another agent has our host id; `None`: it has not.
    pub fn doubled(&self, text: Option<String>) {
        self.set(|parts| parts.doubled = text);
    }

    /// What somebody must mend; `None`: it is mended.
    pub fn trouble(&self, text: Option<String>) {
        self.set(|parts| parts.trouble = text);
    }

    /// Streams that are open.
    pub fn streams(&self, streams: u32) {
        self.set(|parts| parts.streams = streams);
    }

    /// The line.
    pub fn line(&self) -> String {
        let parts = self.lock();
        let wrong = [&parts.unhealthy, &parts.doubled, &parts.trouble, &parts.reload];
        let mut line: Vec<&str> = wrong.into_iter().filter_map(Option::as_deref).collect();
        let streams = format!("{} streams", parts.streams);
        line.push(&parts.nats);
        line.push(&streams);
        line.join("; ")
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut Parts)) {
        let before = self.line();
        change(&mut self.lock());
        let after = self.line();
        if before != after {
            notify::status(&after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_first_and_goes_when_it_is_mended() {
        let status = Status::default();
        status.nats("connection refused".into());
        assert_eq!(status.line(), "not ready: connection refused; 0 streams");
        status.heard();
        status.streams(2);
        assert_eq!(status.line(), "NATS connected; 2 streams");
        status.reloaded(Some("reload failed".into()));
        status.doubled(Some("another agent".into()));
        assert_eq!(status.line(), "another agent; reload failed; NATS connected; 2 streams");
        status.unhealthy(Some("stuck"));
        assert!(status.line().starts_with("unhealthy: stuck; another agent; "));
        status.unhealthy(None);
        status.doubled(None);
        status.reloaded(None);
        assert_eq!(status.line(), "NATS connected; 2 streams");
    }
}
