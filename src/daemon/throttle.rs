//! How often things that need no key to cause are logged: the first few of each source, the rest as counts.
//!
//! A caller asks [`Throttle::admits`] before it logs (and publishes) a line about somebody who has proven nothing; what
//! is not admitted is counted in a metric and in a summary line a minute. Sources are networks
//! ([`super::network::of`]) or words of a closed list.
//!
//! Without a bound a stranger could fill the disk with lines; and journald, which drops lines of a service that
//! logs too many, would drop the records of others with them.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::audit::TARGET;
use super::metrics::Counter;

/// Sources that are counted apart. All others share one bucket until some of these are full again.
const MAX_SOURCES: usize = 1024;

/// How long after the first line that was left out the summary comes.
const SUMMARY_AFTER: Duration = Duration::from_secs(60);

/// Sources that a summary names, those with most lines first.
const NAMED: usize = 5;

/// A token bucket: so many lines at once, then one after each pause.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Lines at once, at least 1.
    pub burst: u32,
    /// The pause that earns one more line.
    pub every: Duration,
}

/// Lines of one source: 20 at once, then six a minute.
pub const ONE: Rate = Rate { burst: 20, every: Duration::from_secs(10) };

/// Lines of all sources together: 200 at once, then two a second. journald's own limit is 10,000 in 30 s
/// (journald.conf(5), RateLimitBurst=).
pub const ALL: Rate = Rate { burst: 200, every: Duration::from_millis(500) };

/// Decides for each line whether it is logged, and logs a summary of those that were not. Clones are the same
/// throttle. `K` names a source: an address, the code of a refusal.
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
    /// Everybody for whom `sources` has no place.
    others: Source,
    /// The first line that was left out since the last summary.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    bucket: Bucket,
    /// Lines that were left out since the last summary.
    left_out: u64,
}

/// A bucket is fully described by the time at which it will be full again.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let full_at = self.full_at.max(now) + rate.every;
        let has_one = full_at - now <= rate.every * rate.burst;
        if has_one {
            self.full_at = full_at;
        }
        has_one
    }
}

impl Source {
    fn new(now: Instant) -> Source {
        Source { bucket: Bucket { full_at: now }, left_out: 0 }
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        self.bucket.full_at <= now && self.left_out == 0
    }
}

impl<K> Clone for Throttle<K> {
    fn clone(&self) -> Throttle<K> {
        Throttle(self.0.clone())
    }
}

impl<K: Clone + Display + Eq + Hash + Send + 'static> Throttle<K> {
    /// A throttle for `what` (plural: `refusals`) with [`ONE`] for each source. `suppressed` counts what is left out.
    pub fn new(what: &'static str, suppressed: Counter) -> Throttle<K> {
        Throttle::with_rate(what, ONE, suppressed)
    }

    /// The same with another rate for each source.
    pub fn with_rate(what: &'static str, one: Rate, suppressed: Counter) -> Throttle<K> {
        let now = Instant::now();
        let state = State {
            all: Bucket { full_at: now },
            sources: HashMap::new(),
            others: Source::new(now),
            since: None,
        };
        Throttle(Arc::new(Shared { what, one, suppressed, state: Mutex::new(state) }))
    }

    /// Whether one more line about `source` is to be logged. One that is not is counted, and is part of a summary
    /// within a minute.
    pub fn admits(&self, source: K) -> bool {
        let now = Instant::now();
        let mut state = self.0.lock();
        let State { all, sources, others, since } = &mut *state;
        if sources.len() >= MAX_SOURCES && !sources.contains_key(&source) {
            sources.retain(|_, source| !source.is_forgettable(now));
        }
        let has_place = sources.len() < MAX_SOURCES || sources.contains_key(&source);
        let source = match has_place {
            true => sources.entry(source).or_insert_with(|| Source::new(now)),
            false => others,
        };
        if source.bucket.take(now, self.0.one) && all.take(now, ALL) {
            return true;
        }
        source.left_out += 1;
        let is_first = since.replace(since.unwrap_or(now)).is_none();
        drop(state);
        self.0.suppressed.inc();
        if is_first {
            self.summarise_later();
        }
        false
    }

    /// Logs the summary of what was left out so far, if anything was. For the end of a program.
    pub fn summarise(&self) {
        self.0.summarise();
    }

    /// A task only while there is something to tell: an idle program has no timer.
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
            "{count} more {} in {seconds} s, not logged one by one: {summary}",
            self.what
        );
    }

    fn take_summary(&self, now: Instant) -> Option<Summary<K>> {
        let mut state = self.lock();
        let since = state.since.take()?;
        let mut worst: Vec<(K, u64)> = state
            .sources
            .iter()
            .filter(|(_, source)| source.left_out > 0)
            .map(|(name, source)| (name.clone(), source.left_out))
            .collect();
        worst.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let count = worst.iter().map(|(_, count)| count).sum::<u64>() + state.others.left_out;
        worst.truncate(NAMED);
        state.others.left_out = 0;
        state.sources.retain(|_, source| {
            source.left_out = 0;
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
    async fn a_flood_of_one_source_is_counted_and_hides_no_other() {
        let suppressed = Counter::default();
        let throttle = Throttle::new("refusals", suppressed.clone());
        assert_eq!(admitted(&throttle, 1, 100_000), 20);
        assert_eq!(admitted(&throttle, 2, 3), 3);
        assert_eq!(suppressed.get(), 99_980);
        tokio::time::advance(ONE.every).await;
        assert_eq!(admitted(&throttle, 1, 10), 1);
        let summary = throttle.0.take_summary(Instant::now()).unwrap();
        assert_eq!((summary.count, summary.to_string().as_str()), (99_989, "99989 of 1"));
        assert!(throttle.0.take_summary(Instant::now()).is_none(), "it is told once");
        tokio::time::advance(ONE.every * ONE.burst).await;
        assert_eq!(admitted(&throttle, 1, 100), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_many_sources_is_bounded_in_lines_and_in_memory() {
        let throttle = Throttle::new("refusals", Counter::default());
        let lines: usize = (0..100_000).map(|source| admitted(&throttle, source, 1)).sum();
        assert_eq!(lines, ALL.burst as usize);
        assert_eq!(throttle.0.lock().sources.len(), MAX_SOURCES);
        let summary = throttle.0.take_summary(Instant::now()).unwrap();
        assert_eq!(summary.count, 99_800);
        assert!(summary.to_string().ends_with(" of others"), "{summary}");
        tokio::time::advance(ONE.every).await;
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
