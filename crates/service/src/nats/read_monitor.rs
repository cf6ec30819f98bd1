//! Whether the NATS client is stuck: connected, but without reading anything.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::connection::State;

use super::connect::PING_INTERVAL;

/// A connected client that reads nothing for this long is stuck: the library gives the connection up after three
/// pings without an answer, and this is the time of a fourth.
const STUCK: Duration = Duration::from_secs(4 * PING_INTERVAL.as_secs());

/// Checks that a client which is connected reads something: the server answers its pings.
#[derive(Debug)]
pub struct ReadMonitor {
    client: Client,
    last: Mutex<LastRead>,
}

/// When something was read last, or nothing was expected.
#[derive(Clone, Copy, Debug)]
struct LastRead {
    bytes: u64,
    at: Instant,
}

impl ReadMonitor {
    pub fn new(client: Client) -> ReadMonitor {
        ReadMonitor { client, last: Mutex::new(LastRead { bytes: 0, at: Instant::now() }) }
    }

    /// A server that cannot be reached is not an error here: a restart would end streams and fix nothing.
    ///
    /// # Errors
    /// If the client is stuck.
    pub fn check(&self) -> Result<(), String> {
        let bytes = self.client.statistics().in_bytes.load(Ordering::Relaxed);
        let is_connected = self.client.connection_state() == State::Connected;
        // Nothing panics while holding it.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.check(bytes, is_connected, Instant::now())
    }
}

impl LastRead {
    fn check(&mut self, bytes: u64, is_connected: bool, now: Instant) -> Result<(), String> {
        if !is_connected || bytes != self.bytes {
            *self = LastRead { bytes, at: now };
        }
        let silent = now.saturating_duration_since(self.at);
        if silent > STUCK {
            return Err(format!(
                "the NATS client says that it is connected, and has read nothing for {} s",
                silent.as_secs()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_connected_client_that_reads_nothing_is_stuck() {
        let begun = Instant::now();
        let mut last = LastRead { bytes: 0, at: begun };
        let mut at = |seconds: u64, bytes, is_connected| {
            last.check(bytes, is_connected, begun + Duration::from_secs(seconds))
        };
        assert_eq!(at(1, 100, true), Ok(()));
        // The library gives up after 60 s.
        assert_eq!(at(80, 100, true), Ok(()));
        let stuck = "the NATS client says that it is connected, and has read nothing for 82 s";
        assert_eq!(at(83, 100, true), Err(stuck.to_owned()));
        assert_eq!(at(84, 105, true), Ok(()));
        // Not connected for an hour, and then again.
        assert_eq!(at(100, 105, false), Ok(()));
        assert_eq!(at(3700, 105, false), Ok(()));
        assert_eq!(at(3701, 105, true), Ok(()));
        assert!(at(3800, 105, true).is_err());
    }
}
