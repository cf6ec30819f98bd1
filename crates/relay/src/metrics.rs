//! The metrics of the relay.

use protocol::end::{End, Outcome};
use service::metrics::{Counter, EncodeLabelSet, Family, Gauge, Metrics};

#[derive(Clone, Debug, Default)]
pub(crate) struct RelayMetrics {
    /// Connections that are neither linked nor parked yet.
    pub connections: Gauge,
    /// TLS handshakes that failed or were too slow.
    pub tls_failures: Counter,
    /// End of the certificate, in seconds since 1970; 0 without TLS.
    pub certificate_ends: Gauge,
    /// Request heads that were larger than allowed.
    pub heads_too_large: Counter,
    /// Accepts that failed, for example because no file descriptor was left.
    pub accept_failures: Counter,
    pub hosts_parked: Gauge,
    /// Parked hosts older than 0.2.0, which do not understand a session's secret.
    pub hosts_without_secret: Counter,
    /// Clients that wait for their host.
    pub clients_waiting: Gauge,
    pub streams: Gauge,
    /// Records of refused peers that were counted and not logged.
    pub records_suppressed: Counter,
    cut: Family<CutLabel, Counter>,
    ended: Family<EndLabel, Counter>,
    bytes: Family<DirectionLabel, Counter>,
    refused_clients: Family<EndLabel, Counter>,
    refused_hosts: Family<CodeLabel, Counter>,
}

/// Why a connection was cut before it was linked or parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Its slot was needed for a newer connection.
    Crowded,
    Full,
    /// It did not read its answer, or did not close, in time.
    Slow,
}

impl Cut {
    const fn label(self) -> &'static str {
        match self {
            Cut::Crowded => "crowded",
            Cut::Full => "full",
            Cut::Slow => "slow",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    end: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

impl RelayMetrics {
    pub(crate) fn register(metrics: &mut Metrics) -> RelayMetrics {
        let ours = RelayMetrics::default();
        let registry = metrics.registry("stream_relay");
        registry.register(
            "connections",
            "Connections that are neither linked nor parked yet",
            ours.connections.clone(),
        );
        registry.register(
            "connections_cut",
            "Connections that were cut before they were linked or parked, by reason",
            ours.cut.clone(),
        );
        registry.register(
            "records_suppressed",
            "Records of refused unknown peers that were only counted in the log",
            ours.records_suppressed.clone(),
        );
        registry.register("tls_failures", "TLS handshakes that failed", ours.tls_failures.clone());
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the relay's certificate ends, in seconds since 1970; 0 without TLS",
            ours.certificate_ends.clone(),
        );
        registry.register(
            "heads_too_large",
            "Requests that were refused because their head is too large (431)",
            ours.heads_too_large.clone(),
        );
        registry.register(
            "accept_failures",
            "Connections that could not be accepted",
            ours.accept_failures.clone(),
        );
        registry.register("hosts_parked", "Hosts that wait for a client", ours.hosts_parked.clone());
        registry.register(
            "hosts_without_secret",
            "Hosts of before 0.2.0 that parked: anyone who saw their grant can take later streams of the session",
            ours.hosts_without_secret.clone(),
        );
        registry.register(
            "clients_waiting",
            "Clients that wait for their host",
            ours.clients_waiting.clone(),
        );
        registry.register("streams", "Linked streams", ours.streams.clone());
        registry.register("streams_ended", "Linked streams that ended, by reason", ours.ended.clone());
        registry.register("bytes", "Payload bytes, by direction", ours.bytes.clone());
        registry.register(
            "clients_refused",
            "Clients that were closed unlinked",
            ours.refused_clients.clone(),
        );
        registry.register("hosts_refused", "Hosts whose dial was refused", ours.refused_hosts.clone());
        ours
    }

    /// Counts a connection that was cut before it was linked or parked.
    pub(crate) fn cut(&self, reason: Cut) {
        self.cut.get_or_create(&CutLabel { reason: reason.label() }).inc();
    }

    /// Counts the end of a linked stream, and its bytes.
    pub(crate) fn ended(&self, outcome: &Outcome) {
        self.ended.get_or_create(&EndLabel { end: outcome.closing.end.label() }).inc();
        self.bytes.get_or_create(&DirectionLabel { direction: "to_host" }).inc_by(outcome.bytes_in);
        self.bytes.get_or_create(&DirectionLabel { direction: "to_client" }).inc_by(outcome.bytes_out);
    }

    /// Counts a client that was closed without a stream.
    pub(crate) fn refused_client(&self, end: End) {
        self.refused_clients.get_or_create(&EndLabel { end: end.label() }).inc();
    }

    /// Counts a host's dial that was refused, by [`protocol::command::Code`].
    pub(crate) fn refused_host(&self, code: &'static str) {
        self.refused_hosts.get_or_create(&CodeLabel { code }).inc();
    }
}

/// Keeps a gauge one higher until it is dropped.
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub(crate) fn new(gauge: &Gauge) -> GaugeGuard {
        gauge.inc();
        GaugeGuard(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
