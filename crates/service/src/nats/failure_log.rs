//! Log lines about failed tries to connect: one for each reason, and then more at growing intervals while it lasts. The
//! library's own events name neither the server nor the reason.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Server, ServerAddr};

use net::backoff::Backoff;

use super::failure::FailedTry;
use super::servers::HostPort;

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Reasons that get a line of their own. There is a limit because a foreign server could make up any number.
const MAX_REASONS: usize = 8;

/// The failed tries since the connection was lost.
#[derive(Debug, Default)]
pub(super) struct FailureLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The server of the current try, and how often it had failed before.
    current: Option<(ServerAddr, usize)>,
    /// Servers and reasons that have had a line.
    logged: Vec<(ServerAddr, String)>,
    /// When the first try failed.
    since: Option<Instant>,
    /// When the next line about a known reason is due, and the pauses after it.
    next: Option<(Instant, Backoff)>,
}

impl FailureLog {
    /// Notes that a try begins. Returns the line that is due about the try before it, if any. `pool` has what the
    /// library knows about its servers.
    pub(super) fn begin(&self, server: Option<&ServerAddr>, pool: &[Server]) -> Option<String> {
        self.lock().begin(server, pool, Instant::now())
    }

    /// Notes that none of a server's addresses accepts connections. Returns the line that is due, if any.
    pub(super) fn failed(&self, server: &ServerAddr, why: &str) -> Option<String> {
        self.lock().failed(server.clone(), why, Instant::now())
    }

    pub(super) fn connected(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, server: Option<&ServerAddr>, pool: &[Server], now: Instant) -> Option<String> {
        let of = |addr: &ServerAddr| pool.iter().find(|server| server.addr == *addr);
        let line = self.current.take().and_then(|(addr, before)| {
            let server = of(&addr)?;
            // For a name without an address, the library makes no try and counts none.
            let is_tried = server.failed_attempts > before;
            let text = server.last_error.as_deref().filter(|_| is_tried).unwrap_or("DNS error");
            self.failed(addr, text, now)
        });
        self.current = server.map(|addr| (addr.clone(), of(addr).map_or(0, |server| server.failed_attempts)));
        line
    }

    fn failed(&mut self, server: ServerAddr, text: &str, now: Instant) -> Option<String> {
        let since = *self.since.get_or_insert(now);
        let is_new = self.logged.len() < MAX_REASONS
            && !self.logged.iter().any(|(logged, why)| *logged == server && why == text);
        let is_due = self.next.as_ref().is_none_or(|(at, _)| *at <= now);
        if !is_new && !is_due {
            return None;
        }
        if is_due {
            let mut pauses =
                self.next.take().map_or(Backoff::new(FIRST_PAUSE, MAX_PAUSE), |(_, pauses)| pauses);
            self.next = Some((now + pauses.wait(), pauses));
        }
        let line = FailedTry { server: &HostPort(&server).to_string(), text }.to_string();
        if is_new {
            self.logged.push((server, text.to_owned()));
        }
        Some(match now.saturating_duration_since(since).as_secs() / 60 {
            0 => format!("{line}; trying again"),
            1 => format!("{line}; trying for 1 minute"),
            minutes => format!("{line}; trying for {minutes} minutes"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(addr: &str, failed_attempts: usize, error: Option<&str>) -> Server {
        Server {
            addr: addr.parse().unwrap(),
            failed_attempts,
            did_connect: false,
            is_discovered: false,
            last_error: error.map(str::to_owned),
        }
    }

    #[test]
    fn a_reason_is_logged_once_and_then_at_growing_intervals() {
        let (begun, addr) = (Instant::now(), "a:4222".parse().unwrap());
        let mut state = State::default();
        let mut lines = Vec::new();
        // A try each second, for a day.
        for second in 0..24 * 3600 {
            let pool = [server("a:4222", second, Some("IO error: Connection refused (os error 111)"))];
            let now = begun + Duration::from_secs(second as u64);
            lines.extend(state.begin(Some(&addr), &pool, now).map(|line| (second, line)));
        }
        let refused =
            "cannot connect to a:4222: connection refused; check servers in [nats], and that the server runs";
        assert_eq!(lines[0], (1, format!("{refused}; trying again")));
        assert_eq!(lines[1], (61, format!("{refused}; trying for 1 minute")));
        assert_eq!(lines[2], (181, format!("{refused}; trying for 3 minutes")));
        assert!(lines.len() < 32, "{lines:?}");
        // Another reason gets a line at once. After a connection, every reason does.
        let (pool, now) =
            ([server("a:4222", 90_000, Some("timed out"))], begun + Duration::from_secs(86_400));
        assert!(state.begin(Some(&addr), &pool, now).unwrap().contains("no answer in time"));
        state = State::default();
        assert_eq!(state.begin(Some(&addr), &pool, now), None);
        let pool = [server("a:4222", 90_001, Some("timed out"))];
        assert!(state.begin(Some(&addr), &pool, now).unwrap().ends_with("trying again"));
    }

    #[test]
    fn a_name_without_an_address_is_logged_and_reasons_without_end_are_not() {
        let (now, addr) = (Instant::now(), "a:4222".parse().unwrap());
        let mut state = State::default();
        let pool = [server("a:4222", 0, None)];
        assert_eq!(state.begin(Some(&addr), &pool, now), None);
        let line = state.begin(Some(&addr), &pool, now).unwrap();
        assert!(
            line.starts_with("cannot connect to a:4222: the name of the server has no address; "),
            "{line}"
        );
        let lines = (1..100).filter_map(|n| {
            state.begin(Some(&addr), &[server("a:4222", n, Some(&format!("IO error: {n}")))], now)
        });
        assert_eq!(lines.count(), MAX_REASONS - 1);
    }
}
