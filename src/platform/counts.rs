//! What the platform counts.

use std::time::Instant;

use ipnet::IpNet;

use crate::daemon::metrics::{Counter, EncodeLabelSet, Family, Histogram, Registry, exponential_buckets};
use crate::daemon::throttle::Throttle;

/// The platform's metrics.
#[derive(Clone, Debug)]
pub struct Counts {
    requests: Family<Request, Counter>,
    answers: Histogram,
    /// Which requests without a key are in the log one by one.
    pub strangers: Throttle<IpNet>,
    records_suppressed: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    action: &'static str,
    code: &'static str,
}

impl Default for Counts {
    fn default() -> Counts {
        // 1 ms to about 8 s: from a host beside us to one that runs into `answer_timeout`.
        let answers = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let records_suppressed = Counter::default();
        let strangers = Throttle::new("requests to the API without a key", records_suppressed.clone());
        Counts { requests: Family::default(), answers, strangers, records_suppressed }
    }
}

impl Counts {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        let requests = "Requests to the platform's API, by what was asked and the error code, or ok";
        registry.register("requests", requests, self.requests.clone());
        let suppressed = "Records of requests without a key that were only counted in the log";
        registry.register("records_suppressed", suppressed, self.records_suppressed.clone());
        let answers = "Time until a host answered or was given up, in seconds";
        registry.register("host_answer_seconds", answers, self.answers.clone());
    }

    /// A request was answered.
    pub fn request(&self, action: &'static str, code: &'static str) {
        self.requests.get_or_create(&Request { action, code }).inc();
    }

    /// Measures until it is dropped.
    pub fn time(&self) -> Timer<'_> {
        Timer { answers: &self.answers, since: Instant::now() }
    }
}

/// Measures how long a host takes.
pub struct Timer<'a> {
    answers: &'a Histogram,
    since: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.answers.observe(self.since.elapsed().as_secs_f64());
    }
}
