//! Limits log lines that peers can cause without a key: the first few of each source are logged, the rest are counted.
//!
//! A caller asks [`Throttle::admits`] before it logs (and publishes) a line about an unauthenticated peer. Lines that
//! are not admitted are counted in a metric, and in one summary line a minute. Sources are networks
//! ([`super::network`]) or strings of a closed list.
//!
//! Without a limit, an unknown peer could fill the disk with lines. And journald, which drops lines of a service that
//! logs too many, would drop other records, too.

mod bucket;

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use protocol::audit::TARGET;

use super::metrics::Counter;
use bucket::Bucket;

pub use bucket::Rate;

/// Sources with a bucket of their own. All others share one, until some of these buckets are full again.
const MAX_SOURCES: usize = 1024;

/// The time from the first suppressed line to the summary.
const SUMMARY_AFTER: Duration = Duration::from_secs(60);

/// Sources that a summary names, those with the most lines first.
const MAX_NAMED: usize = 5;

/// Lines of one source: 20 at once, then six a minute.
pub const PER_SOURCE: Rate = Rate { burst: 20, every: Duration::from_secs(10) };

/// Lines of all sources together: 200 at once, then two a second. journald's own limit is 10,000 in 30 s
/// (journald.conf(5), RateLimitBurst=).
pub const TOTAL: Rate = Rate { burst: 200, every: Duration::from_millis(500) };

/// Decides for each line whether it is logged, and logs a summary of the others. Clones share their state. `K` is a
/// source: an address, or the code of a refusal.
#[derive(Debug)]
pub struct Throttle<K>(Arc<Shared<K>>);

#[derive(Debug)]
struct Shared<K> {
    /// What is counted, in the plural, for the summary: `refusals`.
    what: &'static str,
    one: Rate,
    suppressed: Counter,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    all: Bucket,
    sources: HashMap<K, Source>,
    /// All sources that `sources` has no room for.
    others: Source,
    /// When the first line since the last summary was suppressed.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    bucket: Bucket,
    /// Lines since the last summary.
    suppressed: u64,
}

impl Source {
    fn new(now: Instant) -> Source {
        Source { bucket: Bucket::full(now), suppressed: 0 }
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        self.bucket.is_full(now) && self.suppressed == 0
    }
}

impl<K> Clone for Throttle<K> {
    fn clone(&self) -> Throttle<K> {
        Throttle(self.0.clone())
    }
}

impl<K: Clone + Display + Eq + Hash + Send + 'static> Throttle<K> {
    /// A throttle for `what` (plural: `refusals`) with [`PER_SOURCE`] for each source. `suppressed` counts the lines that are not logged.
    pub fn new(what: &'static str, suppressed: Counter) -> Throttle<K> {
        Throttle::with_rate(what, PER_SOURCE, suppressed)
    }

    /// Like [`new`](Throttle::new), with another rate for each source.
    pub fn with_rate(what: &'static str, one: Rate, suppressed: Counter) -> Throttle<K> {
        let now = Instant::now();
        let state =
            State { all: Bucket::full(now), sources: HashMap::new(), others: Source::new(now), since: None };
        Throttle(Arc::new(Shared { what, one, suppressed, state: Mutex::new(state) }))
    }

    /// Whether to log one more line about `source`. Otherwise it is counted, and part of a summary within a minute.
    pub fn admits(&self, source: K) -> bool {
        let now = Instant::now();
        let mut state = self.0.lock();
        let State { all, sources, others, since } = &mut *state;
        if sources.len() >= MAX_SOURCES && !sources.contains_key(&source) {
            sources.retain(|_, source| !source.is_forgettable(now));
        }
        let has_room = sources.len() < MAX_SOURCES || sources.contains_key(&source);
        let source = match has_room {
            true => sources.entry(source).or_insert_with(|| Source::new(now)),
            false => others,
        };
        if source.bucket.take(now, self.0.one) && all.take(now, TOTAL) {
            return true;
        }
        source.suppressed += 1;
        let is_first = since.replace(since.unwrap_or(now)).is_none();
        drop(state);
        self.0.suppressed.inc();
        if is_first {
            self.summarise_later();
        }
        false
    }

    /// Logs the summary now, if there is anything in it. For the end of a program.
    pub fn summarise(&self) {
        self.0.summarise();
    }

    /// The task exists only while there is something to report, so an idle program has no timer.
    fn summarise_later(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let throttle = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            tokio::time::sleep(SUMMARY_AFTER).await;
            if let Some(throttle) = throttle.upgrade() {
                throttle.summarise();
            }
        });
    }
}

impl<K> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Display + Eq + Hash> Shared<K> {
    fn summarise(&self) {
        let Some(summary) = self.take_summary(Instant::now()) else { return };
        let Summary { count, seconds, .. } = summary;
        tracing::warn!(
            target: TARGET,
            event = "suppressed",
            count,
            "{}: {count} more in {seconds} s, not logged one by one: {summary}",
            self.what
        );
    }

    fn take_summary(&self, now: Instant) -> Option<Summary<K>> {
        let mut state = self.lock();
        let since = state.since.take()?;
        let mut worst: Vec<(K, u64)> = state
            .sources
            .iter()
            .filter(|(_, source)| source.suppressed > 0)
            .map(|(name, source)| (name.clone(), source.suppressed))
            .collect();
        worst.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let count = worst.iter().map(|(_, count)| count).sum::<u64>() + state.others.suppressed;
        worst.truncate(MAX_NAMED);
        state.others.suppressed = 0;
        state.sources.retain(|_, source| {
            source.suppressed = 0;
            !source.is_forgettable(now)
        });
        Some(Summary { count, seconds: (now - since).as_secs().max(1), worst })
    }
}

struct Summary<K> {
    count: u64,
    seconds: u64,
    worst: Vec<(K, u64)>,
}

/// `3000 of 192.0.2.1, 12 of others`.
impl<K: Display> Display for Summary<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut rest = self.count;
        for (name, count) in &self.worst {
            write!(f, "{separator}{count} of {name}")?;
            separator = ", ";
            rest -= count;
        }
        if rest > 0 {
            write!(f, "{separator}{rest} of others")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(throttle: &Throttle<u32>, source: u32, lines: usize) -> usize {
        (0..lines).filter(|_| throttle.admits(source)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_source_is_counted_and_hides_no_other() {
        let suppressed = Counter::default();
        let throttle = Throttle::new("refusals", suppressed.clone());
        assert_eq!(admitted(&throttle, 1, 100_000), 20);
        assert_eq!(admitted(&throttle, 2, 3), 3);
        assert_eq!(suppressed.get(), 99_980);
        tokio::time::advance(PER_SOURCE.every).await;
        assert_eq!(admitted(&throttle, 1, 10), 1);
        let summary = throttle.0.take_summary(Instant::now()).unwrap();
        assert_eq!((summary.count, summary.to_string().as_str()), (99_989, "99989 of 1"));
        assert!(throttle.0.take_summary(Instant::now()).is_none(), "there is one summary");
        tokio::time::advance(PER_SOURCE.every * PER_SOURCE.burst).await;
        assert_eq!(admitted(&throttle, 1, 100), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_many_sources_is_bounded_in_lines_and_in_memory() {
        let throttle = Throttle::new("refusals", Counter::default());
        let lines: usize = (0..100_000).map(|source| admitted(&throttle, source, 1)).sum();
        assert_eq!(lines, TOTAL.burst as usize);
        assert_eq!(throttle.0.lock().sources.len(), MAX_SOURCES);
        let summary = throttle.0.take_summary(Instant::now()).unwrap();
        assert_eq!(summary.count, 99_800);
        assert!(summary.to_string().ends_with(" of others"), "{summary}");
        tokio::time::advance(PER_SOURCE.every).await;
        assert_eq!(admitted(&throttle, 7, 2), 2, "those that are quiet give up their places");
    }

    #[tokio::test(start_paused = true)]
    async fn the_summary_comes_by_itself_after_the_last_line_too() {
        let throttle = Throttle::new("refusals", Counter::default());
        admitted(&throttle, 1, 21);
        assert!(throttle.0.lock().since.is_some());
        tokio::time::sleep(SUMMARY_AFTER + Duration::from_secs(1)).await;
        assert!(throttle.0.lock().since.is_none());
    }
}
