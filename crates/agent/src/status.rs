//! The line that `systemctl status` shows: first what is wrong, then the connection and the streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use service::counted::Counted;
use service::notify;

/// The parts of the status. Clones are the same status.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    is_ready: bool,
    is_receiving: bool,
    nats: String,
    unhealthy: Option<String>,
    doubled: Option<String>,
    trouble: Option<String>,
    reload: Option<String>,
    streams: u32,
    /// What an operator should know of the way in which targets are opened.
    shape: Option<&'static str>,
}

impl Status {
    /// `shape`: how targets are opened, if not as the packages do.
    pub fn new(shape: Option<&'static str>) -> Status {
        Status(Arc::new(Mutex::new(Parts { shape, ..Parts::default() })))
    }

    /// Ends the start, at the first call: commands arrive, or have been waited for long enough.
    pub fn ready(&self) {
        if !std::mem::replace(&mut self.lock().is_ready, true) {
            notify::ready(&self.line());
        }
    }

    /// A reload begins. During the start, systemd does not need to know.
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

    /// Commands do not arrive, and why.
    pub fn not_receiving(&self, why: impl std::fmt::Display) {
        self.set(|parts| {
            parts.is_receiving = false;
            parts.nats = format!("not ready: {why}");
        });
    }

    pub fn receiving(&self) {
        self.set(|parts| {
            parts.is_receiving = true;
            parts.nats = "NATS connected".into();
        });
    }

    /// An error of the connection to NATS that does not end it.
    pub fn nats(&self, text: String) {
        if self.lock().is_receiving { self.set(|parts| parts.nats = text) } else { self.not_receiving(text) }
    }

    /// Why the watchdog gets no sign of life; `None`: it gets them.
    pub fn unhealthy(&self, why: Option<&str>) {
        self.set(|parts| parts.unhealthy = why.map(|why| format!("unhealthy: {why}")));
    }

    /// Another agent has our host id; `None`: it has not.
    pub fn doubled(&self, text: Option<String>) {
        self.set(|parts| parts.doubled = text);
    }

    /// What an operator must fix; `None`: it is fixed.
    pub fn trouble(&self, text: Option<String>) {
        self.set(|parts| parts.trouble = text);
    }

    /// Sets the number of open streams.
    pub fn streams(&self, streams: u32) {
        self.set(|parts| parts.streams = streams);
    }

    pub fn line(&self) -> String {
        let parts = self.lock();
        let wrong = [&parts.unhealthy, &parts.doubled, &parts.trouble, &parts.reload];
        let mut line: Vec<&str> = wrong.into_iter().filter_map(Option::as_deref).collect();
        let streams = Counted(parts.streams, "stream").to_string();
        line.push(&parts.nats);
        line.push(&streams);
        line.extend(parts.shape);
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
    fn what_is_wrong_comes_first_and_goes_when_it_is_fixed() {
        let status = Status::default();
        status.nats("connection refused".into());
        assert_eq!(status.line(), "not ready: connection refused; 0 streams");
        status.receiving();
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
        assert!(Status::new(Some("unsplit")).line().ends_with("; 0 streams; unsplit"));
    }
}
