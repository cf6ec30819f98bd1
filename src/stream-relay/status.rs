//! The line that `systemctl status` shows: first what is wrong, then what the relay does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relay::Relay;
use service::{memory, notify};

/// How often the line is reported.
const EVERY: Duration = Duration::from_secs(10);

/// The status of a running relay.
pub(crate) struct Status {
    relay: Arc<Relay>,
    unhealthy: Mutex<Option<String>>,
}

impl Status {
    /// The status of a healthy relay.
    pub(crate) fn new(relay: Arc<Relay>) -> Arc<Status> {
        Arc::new(Status { relay, unhealthy: Mutex::default() })
    }

    /// Sets why the watchdog is not notified; `None` if it is.
    pub(crate) fn unhealthy(&self, why: Option<&str>) {
        // No code panics while holding the lock.
        *self.unhealthy.lock().unwrap_or_else(PoisonError::into_inner) = why.map(str::to_owned);
        notify::status(&self.line());
    }

    /// The line as it is now.
    pub(crate) fn line(&self) -> String {
        match &*self.unhealthy.lock().unwrap_or_else(PoisonError::into_inner) {
            None => self.relay.status(),
            Some(why) => format!("unhealthy: {why}; {}", self.relay.status()),
        }
    }

    /// Reports the line repeatedly, and returns free memory to the system after streams have ended.
    pub(crate) async fn report(self: Arc<Self>) {
        let mut before = 0;
        loop {
            let open = self.relay.streams();
            // Also if none was open at the last report: thousands may have come and gone since.
            if open == 0 || open < before {
                memory::give_back();
            }
            before = open;
            notify::status(&self.line());
            tokio::time::sleep(EVERY).await;
        }
    }
}
