//! The metrics of the platform.

use std::time::Instant;

use ipnet::IpNet;

use service::metrics::{Counter, EncodeLabelSet, Family, Histogram, Registry, exponential_buckets};
use service::throttle::Throttle;

/// The platform's metrics, and the limit for log lines of unknown peers.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    requests: Family<Request, Counter>,
    answers: Histogram,
    /// Limits the log lines for requests without a key.
    pub unknown_peers: Throttle<IpNet>,
    records_suppressed: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    action: &'static str,
    code: &'static str,
}

impl Default for Counts {
    fn default() -> Counts {
        // 1 ms to about 8 s: from a near host to one that exceeds `answer_timeout`.
        let answers = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let records_suppressed = Counter::default();
        let unknown_peers = Throttle::new("requests to the API without a key", records_suppressed.clone());
        Counts { requests: Family::default(), answers, unknown_peers, records_suppressed }
    }
}

impl Counts {
    /// Registers every metric of the platform.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let requests = "Requests to the platform's API, by what was asked and the error code, or ok";
        registry.register("requests", requests, self.requests.clone());
        let suppressed = "Records of requests without a key that were only counted in the log";
        registry.register("records_suppressed", suppressed, self.records_suppressed.clone());
        let answers = "Time until a host answered or was given up, in seconds";
        registry.register("host_answer_seconds", answers, self.answers.clone());
    }

    /// Counts an answered request, by action and error code (or `ok`).
    pub(crate) fn request(&self, action: &'static str, code: &'static str) {
        self.requests.get_or_create(&Request { action, code }).inc();
    }

    /// Measures how long a host takes to answer, until the timer is dropped.
    pub(crate) fn time(&self) -> Timer<'_> {
        Timer { answers: &self.answers, since: Instant::now() }
    }
}

/// Measures how long a host takes.
pub(crate) struct Timer<'a> {
    answers: &'a Histogram,
    since: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.answers.observe(self.since.elapsed().as_secs_f64());
    }
}
