//! The one line that `systemctl status` shows: what is wrong first, then what goes on.

use std::sync::{Arc, Mutex, PoisonError};

use crate::daemon::notify;

/// The parts of the status. Clones are the same status.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    nats: String,
    doubled: Option<String>,
    trouble: Option<String>,
    reload: Option<String>,
    streams: u32,
}

impl Status {
    /// How the connection to NATS is.
    pub fn nats(&self, text: impl Into<String>) {
        self.set(|parts| parts.nats = text.into());
    }

    /// Another agent has our host id; `None`: it has not.
    pub fn doubled(&self, text: Option<String>) {
        self.set(|parts| parts.doubled = text);
    }

    /// What somebody must mend; `None`: it is mended.
    pub fn trouble(&self, text: Option<String>) {
        self.set(|parts| parts.trouble = text);
    }

    /// Why the last reload failed; `None`: it did not.
    pub fn reload(&self, text: Option<String>) {
        self.set(|parts| parts.reload = text);
    }

    /// Streams that are open.
    pub fn streams(&self, streams: u32) {
        self.set(|parts| parts.streams = streams);
    }

    /// The line.
    pub fn line(&self) -> String {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = [&parts.doubled, &parts.trouble, &parts.reload];
        let mut line: Vec<&str> = wrong.into_iter().filter_map(Option::as_deref).collect();
        let streams = format!("{} streams", parts.streams);
        line.push(&parts.nats);
        line.push(&streams);
        line.join("; ")
    }

    fn set(&self, change: impl FnOnce(&mut Parts)) {
        let before = self.line();
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
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
        status.nats("NATS connected");
        status.streams(2);
        assert_eq!(status.line(), "NATS connected; 2 streams");
        status.reload(Some("reload failed".into()));
        status.doubled(Some("another agent".into()));
        assert_eq!(status.line(), "another agent; reload failed; NATS connected; 2 streams");
        status.doubled(None);
        status.reload(None);
        assert_eq!(status.line(), "NATS connected; 2 streams");
    }
}
