//! The metrics of one program, as OpenMetrics text: those of the process, and those that relay and agent register.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;

pub use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
pub use prometheus_client::registry::{Registry, Unit};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of one program.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// A registry with build information and the process's own metrics.
    ///
    /// `program` is the first word of every metric the program registers: `stream_relay`.
    pub fn new(program: &str) -> Metrics {
        let mut registry = Registry::default();
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register(format!("{program}_build"), "Version of the running program", build);
        registry.register_collector(Box::new(Process { started: SystemTime::now() }));
        Metrics(registry)
    }

    /// The registry for metrics with `prefix` (`stream_relay`).
    pub fn registry(&mut self, prefix: &str) -> &mut Registry {
        self.0.sub_registry_with_prefix(prefix)
    }

    /// All metrics as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Fails only if a metric cannot be encoded. Then the text has no `# EOF`, so a scraper knows that it is incomplete.
        let _ = text::encode(&mut out, &self.0);
        out
    }
}

/// The process as `/proc/self` shows it at the time of a scrape, with the usual names.
#[derive(Debug)]
struct Process {
    started: SystemTime,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut gauge = |name, help, value: Option<f64>| {
            // A value that cannot be read is left out: zero would be wrong.
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("process_start_time_seconds", "Start of the process, seconds since 1970", Some(started))?;
        gauge("process_open_fds", "Open file descriptors", open_fds())?;
        gauge("process_resident_memory_bytes", "Resident memory", resident_bytes())
    }
}

fn open_fds() -> Option<f64> {
    // One of the entries is the descriptor that reads the directory.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(count).ok().map(f64::from)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    resident_kib(&status).map(|kib| f64::from(kib) * 1024.0)
}

/// The value of `VmRSS`, in KiB (proc_pid_status(5)).
fn resident_kib(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Labels {
        end: &'static str,
    }

    #[test]
    fn registered_metrics_are_rendered_with_those_of_the_process() {
        let mut metrics = Metrics::new("stream_relay");
        let streams = Family::<Labels, Counter>::default();
        metrics.registry("stream_relay").register("streams", "Streams that ended", streams.clone());
        streams.get_or_create(&Labels { end: "peer_left" }).inc();
        let text = metrics.render();
        for line in [
            concat!("stream_relay_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "stream_relay_streams_total{end=\"peer_left\"} 1",
            "# TYPE process_open_fds gauge",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        assert!(value("process_start_time_seconds ") > 1.7e9);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
    }

    #[test]
    fn memory_is_found_in_the_status_file() {
        assert_eq!(resident_kib("Name:\tx\nVmRSS:\t   1234 kB\nRssAnon: 1 kB\n"), Some(1234));
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }
}
