//! What all connections of the relay share. Imports none of the files that use it.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use net::socket::Socket;
use protocol::host::HostId;
use protocol::token::TokenHash;
use service::audit::Sink;
use service::counted::Counted;
use service::descriptors;
use service::metrics::{Counter, Metrics};
use service::throttle::Throttle;
use service::tls::ReloadingServer;
use websocket::connection::WebSocket;

use super::api::Api;
use super::config::{Auth, Settings};
use super::metrics::RelayMetrics;
use super::pages::Pages;
use super::peer;
use super::rendezvous::Rendezvous;
use super::slots::{SlotLimits, Slots};

pub(crate) type HostSocket = WebSocket<Socket>;

pub(crate) struct State {
    pub(crate) settings: RwLock<Arc<Settings>>,
    pages: RwLock<Arc<Pages>>,
    tls: Option<ReloadingServer>,
    pub(crate) slots: Slots,
    pub(crate) rendezvous: Rendezvous<HostSocket>,
    /// Limits the records of refused peers that showed nothing known here.
    pub(crate) unknown_peers: Throttle<IpNet>,
    /// Limits the records of dials that are refused although a known host makes them.
    pub(crate) dials: Throttle<HostId>,
    /// Limits the warnings about faults that repeat.
    pub(crate) faults: Throttle<&'static str>,
    pub(crate) audit: Sink,
    pub(crate) metrics: RelayMetrics,
    pub(crate) all_metrics: Metrics,
    pub(crate) api: Option<Arc<dyn Api>>,
    /// Id of this run of the program: a grant that names it was not used in an earlier run.
    pub(crate) run: String,
    /// When this run began; a monotonic clock, which is never set.
    begun: Instant,
    /// Cancelled when the relay stops accepting.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when the drain is over and every stream must end.
    pub(crate) drained: CancellationToken,
    /// The tasks of hosts and clients that still need a close frame.
    pub(crate) tasks: TaskTracker,
}

impl State {
    /// The state of a relay that serves nothing yet. `api` answers below `/api/`; a grant that names `run` was
    /// signed during this run.
    ///
    /// # Errors
    /// If the certificate or its key cannot be used.
    pub(crate) fn new(
        settings: Settings,
        mut metrics: Metrics,
        api: Option<Arc<dyn Api>>,
        run: String,
        stopping: CancellationToken,
    ) -> Result<State> {
        let tls = match &settings.tls {
            None => None,
            Some((certificate, key)) => Some(ReloadingServer::new(certificate, key)?),
        };
        let ours = RelayMetrics::register(&mut metrics);
        check_certificate(&ours, tls.as_ref());
        let suppressed = || ours.records_suppressed.clone();
        Ok(State {
            slots: Slots::new(slot_limits(settings.slots), ours.connections.clone()),
            rendezvous: Rendezvous::new(settings.caps),
            unknown_peers: Throttle::new("refusals of unknown peers", suppressed()),
            dials: Throttle::new("refused dials", suppressed()),
            faults: Throttle::new("faults", Counter::default()),
            audit: Sink::log(),
            metrics: ours,
            all_metrics: metrics,
            pages: RwLock::new(Arc::new(Pages::read(&settings, None))),
            settings: RwLock::new(Arc::new(settings)),
            tls,
            api,
            run,
            begun: Instant::now(),
            stopping,
            drained: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Takes over new settings: limits, keys, issuers, trusted proxies, the page, and the certificate's new
    /// files.
    /// True: something else changed too (addresses, caps), which needs a restart.
    ///
    /// # Errors
    /// If the new certificate cannot be used; then the old settings stay.
    pub(crate) fn reload(&self, settings: Settings) -> Result<bool> {
        if let Some(tls) = &self.tls {
            tls.reload()?;
            check_certificate(&self.metrics, Some(tls));
        }
        let needs_restart = settings.needs_restart_after(&self.settings());
        let pages = Pages::read(&settings, Some(&self.pages()));
        *self.pages.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pages);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(needs_restart)
    }

    /// Whether the relay can serve streams.
    ///
    /// # Errors
    /// What prevents it.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.stopping.is_cancelled() {
            return Err("stopping".into());
        }
        if let Auth::Signed { issuers, .. } = &self.settings().auth
            && issuers.is_empty()
        {
            return Err("no issuer's key".into());
        }
        self.api.as_ref().map_or(Ok(()), |api| api.ready())
    }

    /// The number of linked streams.
    pub(crate) fn streams(&self) -> i64 {
        self.metrics.streams.get()
    }

    /// Whether the session of this token is here: its host parked, or a stream open.
    pub(crate) fn has(&self, token: &TokenHash) -> bool {
        self.rendezvous.has(token)
    }

    /// The status line: numbers of linked streams, parked hosts and waiting clients.
    pub(crate) fn status(&self) -> String {
        let (hosts, clients) = self.rendezvous.counts();
        let (streams, hosts) = (Counted(self.streams(), "stream"), Counted(hosts, "host"));
        format!("{streams}, {hosts} parked, {} waiting", Counted(clients, "client"))
    }

    /// When this run began, by the present system clock, which may have been corrected since.
    pub(crate) fn started(&self) -> SystemTime {
        SystemTime::now().checked_sub(self.begun.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn pages(&self) -> Arc<Pages> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.as_ref().map(ReloadingServer::config)
    }

    /// Whether the relay itself serves TLS, not a proxy in front of it.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The address of a peer, if it is its own; see [`peer::own`].
    pub(crate) fn own_address(&self, address: IpAddr) -> Option<IpAddr> {
        peer::own(address, &self.settings().trusted_proxies)
    }

    /// Whether clients reach us by `wss://`, here or at the proxy in front.
    pub(crate) fn is_https(&self) -> bool {
        self.tls.is_some() || self.settings().public_urls.iter().all(|url| url.starts_with("wss://"))
    }
}

/// Lowers the limits to what the process can open: half of the descriptors are for linked and parked connections.
fn slot_limits(configured: SlotLimits) -> SlotLimits {
    let most = (descriptors::raise_limit() / 2).max(1);
    if most < configured.total {
        info!(
            "limits.connections is {}, but the process may open only {} files (LimitNOFILE=): {most} are used",
            configured.total,
            2 * most
        );
    }
    let total = configured.total.min(most);
    // One address never has more than a quarter.
    SlotLimits { total, per_address: configured.per_address.min(total / 4).max(1) }
}

/// Sets the metric of the certificate's end, and warns when few days are left.
fn check_certificate(metrics: &RelayMetrics, tls: Option<&ReloadingServer>) {
    let now = SystemTime::now();
    let Some(chain) = tls.map(|tls| tls.chain(now)) else { return };
    let ends = chain.ends.and_then(|ends| ends.duration_since(UNIX_EPOCH).ok());
    metrics.certificate_ends.set(ends.map_or(0, |ends| i64::try_from(ends.as_secs()).unwrap_or(i64::MAX)));
    if let Some(remark) = chain.remark(now) {
        warn!("the certificate in tls.cert_file {remark}");
    }
}
