//! The line that `systemctl status` shows: what is wrong first, then what goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stream::daemon::{memory, notify};
use stream::relay::Relay;

/// How often it is renewed.
const EVERY: Duration = Duration::from_secs(10);

/// The status of a running relay.
pub struct Status {
    relay: Arc<Relay>,
    unhealthy: Mutex<Option<String>>,
}

impl Status {
    /// Nothing is wrong.
    pub fn new(relay: Arc<Relay>) -> Arc<Status> {
        Arc::new(Status { relay, unhealthy: Mutex::default() })
    }

    /// Why the watchdog gets no sign of life; `None`: it gets them.
    pub fn unhealthy(&self, why: Option<&str>) {
        // Nothing panics while holding it.
        *self.unhealthy.lock().unwrap_or_else(PoisonError::into_inner) = why.map(str::to_owned);
        notify::status(&self.line());
    }

    /// The line.
    pub fn line(&self) -> String {
        match &*self.unhealthy.lock().unwrap_or_else(PoisonError::into_inner) {
            None => self.relay.status(),
            Some(why) => format!("unhealthy: {why}; {}", self.relay.status()),
        }
    }

    /// Tells it again and again, and gives memory back when streams have ended.
    pub async fn tell(self: Arc<Self>) {
        let mut before = 0;
        loop {
            let open = self.relay.streams();
            // Also when none was there a tick ago: thousands may have come and gone in between.
            if open == 0 || open < before {
                memory::give_back();
            }
            before = open;
            notify::status(&self.line());
            tokio::time::sleep(EVERY).await;
        }
    }
}
