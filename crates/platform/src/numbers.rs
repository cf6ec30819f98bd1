//! Numbers for what comes one after the other, which callers see. They follow the clock, in microseconds: a count would
//! tell each caller how much others do.

use std::time::SystemTime;

use tokio::time::Instant;

use protocol::grant::unix;

pub(crate) struct Numbers {
    started: Instant,
    /// Numbers of an earlier run are smaller.
    first: u64,
    last: u64,
}

impl Default for Numbers {
    fn default() -> Numbers {
        let first = unix(SystemTime::now()) * 1_000_000;
        Numbers { started: Instant::now(), first, last: first }
    }
}

impl Numbers {
    /// A number above all that were given.
    pub(crate) fn next(&mut self) -> u64 {
        self.last = self.clock().max(self.last + 1);
        self.last
    }

    /// A number below all that [`Numbers::next`] will give.
    pub(crate) fn now(&mut self) -> u64 {
        self.last = self.clock().max(self.last);
        self.last
    }

    fn clock(&self) -> u64 {
        let since = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.first.saturating_add(since)
    }
}
