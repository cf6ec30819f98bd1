//! The relay: where hosts and clients meet. Knows neither NATS nor targets.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::daemon::descriptors;
use crate::daemon::metrics::{Counter, Metrics};
use crate::daemon::throttle::Throttle;
use crate::daemon::tls::ReloadingServer;
use crate::protocol::host::HostId;
use crate::protocol::token::TokenHash;

use accept::Purpose;
use config::{Auth, Settings};
use host::HostLeg;
use listener::Listener;
use metrics::RelayMetrics;
use places::{Places, Room};
use probe::{Probe, probe};
use rendezvous::Rendezvous;
use routes::Api;

pub use listener::Bound;

mod accept;
mod admin;
pub mod answer;
mod client;
pub mod config;
mod form;
mod host;
mod listener;
mod metrics;
mod peer;
mod places;
mod probe;
pub mod rendezvous;
pub mod routes;

/// How long peers may take to answer the last farewell when the relay stops.
const FAREWELLS: Duration = Duration::from_secs(5);

/// A running relay.
pub struct Relay {
    settings: RwLock<Arc<Settings>>,
    tls: Option<ReloadingServer>,
    places: Places,
    rendezvous: Rendezvous<HostLeg>,
    /// Records of those who have shown nothing that is known here.
    strangers: Throttle<IpNet>,
    /// Records of dials whose grant is signed, and refused all the same.
    dials: Throttle<HostId>,
    /// What goes wrong again and again.
    faults: Throttle<&'static str>,
    metrics: RelayMetrics,
    all_metrics: Metrics,
    api: Option<Arc<dyn Api>>,
    /// Stands for this run of the program: a grant that names it was used in no earlier one.
    run: String,
    /// When this run began, on a clock that is never set.
    begun: Instant,
    /// Takes nothing new.
    stopping: CancellationToken,
    /// Nothing may go on any longer.
    drained: CancellationToken,
    /// Every host and client that still needs a farewell.
    tasks: TaskTracker,
    /// One for each public listener, once they are served.
    probes: OnceLock<Vec<Probe>>,
}

impl Relay {
    /// A relay that is ready to serve. `api` answers below `/api/`; grants that name `run` were signed by it.
    ///
    /// # Errors
    /// When certificate or key cannot be used.
    pub fn new(
        settings: Settings,
        mut metrics: Metrics,
        api: Option<Arc<dyn Api>>,
        run: String,
        stopping: CancellationToken,
    ) -> Result<Arc<Relay>> {
        let tls = match &settings.tls {
            None => None,
            Some((certificate, key)) => Some(ReloadingServer::new(certificate, key)?),
        };
        let ours = RelayMetrics::register(&mut metrics);
        look_at_certificate(&ours, tls.as_ref());
        let suppressed = || ours.records_suppressed.clone();
        Ok(Arc::new(Relay {
            places: Places::new(room(settings.room), ours.connections.clone()),
            rendezvous: Rendezvous::new(settings.caps),
            strangers: Throttle::new("refusals of strangers", suppressed()),
            dials: Throttle::new("refused dials", suppressed()),
            faults: Throttle::new("faults", Counter::default()),
            metrics: ours,
            all_metrics: metrics,
            settings: RwLock::new(Arc::new(settings)),
            tls,
            api,
            run,
            begun: Instant::now(),
            stopping,
            drained: CancellationToken::new(),
            tasks: TaskTracker::new(),
            probes: OnceLock::new(),
        }))
    }

    /// Serves until `stopping`, then drains: linked streams may go on for `drain_timeout`, and are then
    /// closed with 1012; everybody hears a farewell.
    pub async fn serve(self: &Arc<Self>, bound: Bound) {
        if bound.public.iter().any(|listener| listener.name().is_some()) {
            info!("sockets came from systemd: `listen` is not used");
        }
        let (mut serving, mut probes) = (Vec::new(), Vec::new());
        for listener in bound.public {
            self.announce(&listener);
            let (probe, visits) = probe(listener.address());
            probes.push(probe);
            serving.push(tokio::spawn(accept::serve(self.clone(), listener, Purpose::Public, visits)));
        }
        // Only once: a relay serves once.
        let _ = self.probes.set(probes);
        for listener in bound.admin {
            info!("admin at {}{}", listener.address(), origin(&listener));
            let (_, visits) = probe(listener.address());
            serving.push(tokio::spawn(accept::serve(self.clone(), listener, Purpose::Admin, visits)));
        }
        self.stopping.cancelled().await;
        self.tasks.close();
        let drain = self.settings().drain_timeout;
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_err() {
            info!("{} streams still open after {drain:?}: closing them", self.tasks.len());
        }
        self.drained.cancel();
        if tokio::time::timeout(FAREWELLS, self.tasks.wait()).await.is_err() {
            info!("{} farewells were not answered", self.tasks.len());
        }
        for task in serving {
            // A listener that panicked has said so.
            let _ = task.await;
        }
        self.strangers.summarise();
        self.dials.summarise();
        self.faults.summarise();
    }

    fn announce(&self, listener: &Listener) {
        let (address, from) = (listener.address(), origin(listener));
        info!("listening at {address}{}{from}", if self.tls.is_some() { " with TLS" } else { "" });
        if self.tls.is_none() && listener.is_open_to_others() {
            warn!(
                "{address} is served without [tls]: tokens and streams travel in clear; set [tls], or listen on \
                 loopback behind a proxy"
            );
        }
    }

    /// Takes over new settings: limits, keys, issuers, trusted proxies, and the certificate's new files.
    /// Addresses and caps stay as they were: true if they should not.
    ///
    /// # Errors
    /// When the new certificate cannot be used; then everything stays as it was.
    pub fn reload(&self, settings: Settings) -> Result<bool> {
        if let Some(tls) = &self.tls {
            tls.reload()?;
            look_at_certificate(&self.metrics, Some(tls));
        }
        let needs_restart = settings.needs_restart_after(&self.settings());
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(needs_restart)
    }

    /// Whether every public listener is served, within `limit`: its accept loop turns, and requests are
    /// answered, whatever else goes on. Where nothing is accepted any more, nothing is asked.
    ///
    /// # Errors
    /// Which of them is not.
    pub async fn health(&self, limit: Duration) -> Result<(), String> {
        let looks = self.probes.get().into_iter().flatten().map(async |probe| {
            match tokio::time::timeout(limit, probe.look()).await {
                Ok(looked) => looked,
                Err(_) => {
                    Err(format!("the listener at {} does not answer within {limit:?}", probe.address()))
                }
            }
        });
        let looked = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Ok(()),
            looked = futures_util::future::join_all(looks) => looked.into_iter().collect(),
        };
        // A loop may have ended for that reason, and have been asked before we knew.
        if self.stopping.is_cancelled() { Ok(()) } else { looked }
    }

    /// Whether streams can be had here.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ready(&self) -> Result<(), String> {
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

    /// Streams that are linked now.
    pub fn streams(&self) -> i64 {
        self.metrics.streams.get()
    }

    /// Whether the session of this token is here: its host parked, or a stream open.
    pub fn has(&self, token: &TokenHash) -> bool {
        self.rendezvous.has(token)
    }

    /// For the status line: parked hosts, waiting clients, linked streams.
    pub fn status(&self) -> String {
        let (hosts, clients) = self.rendezvous.counts();
        format!("{} streams, {hosts} hosts parked, {clients} clients waiting", self.streams())
    }

    /// When this run began, by the clock as it is now: one that was wrong then may have been set right since.
    fn started(&self) -> SystemTime {
        SystemTime::now().checked_sub(self.begun.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.as_ref().map(ReloadingServer::config)
    }

    /// The address of a peer, if it is its own: see [`peer::own`].
    fn own_address(&self, address: IpAddr) -> Option<IpAddr> {
        peer::own(address, &self.settings().trusted_proxies)
    }

    /// Whether clients reach us by `wss://`, here or at the proxy in front.
    fn is_https(&self) -> bool {
        self.tls.is_some() || self.settings().public_urls.iter().all(|url| url.starts_with("wss://"))
    }
}

/// Half of the descriptors are kept for those who are linked or parked.
fn room(room: Room) -> Room {
    let most = (descriptors::raise_limit() / 2).max(1);
    if most < room.places {
        info!(
            "limits.connections is {}, but the process may open only {} files (LimitNOFILE=): {most} are used",
            room.places,
            2 * most
        );
    }
    let places = room.places.min(most);
    // One address never has more than a quarter.
    Room { places, per_address: room.per_address.min(places / 4).max(1) }
}

/// Where a listener is from, for the log.
/// Counts the days of the certificate, and says when few are left.
fn look_at_certificate(metrics: &RelayMetrics, tls: Option<&ReloadingServer>) {
    let now = SystemTime::now();
    let Some(chain) = tls.map(|tls| tls.chain(now)) else { return };
    let ends = chain.ends.and_then(|ends| ends.duration_since(UNIX_EPOCH).ok());
    metrics.certificate_ends.set(ends.map_or(0, |ends| i64::try_from(ends.as_secs()).unwrap_or(i64::MAX)));
    if let Some(remark) = chain.remark(now) {
        warn!("the certificate in tls.cert_file {remark}");
    }
}

fn origin(listener: &Listener) -> String {
    listener.name().map(|name| format!(", a socket of systemd ({name})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::Loaded;
    use crate::protocol::issuers::SigningKey;

    /// Settings with one issuer's key, and these lines.
    fn settings(dir: &std::path::Path, lines: &str) -> Settings {
        let (key, _) = SigningKey::generate("k1").unwrap();
        std::fs::write(dir.join("k1.pub"), key.public_pem()).unwrap();
        let text =
            format!("public_urls = ['ws://127.0.0.1']\n{lines}\nauth.issuers_dir = '{}'\n", dir.display());
        let file = dir.join("config.toml");
        std::fs::write(&file, text).unwrap();
        let loaded = Loaded::read(&file, &[], &[]).unwrap();
        loaded.parse::<config::Raw<()>>().unwrap().check(&loaded).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_relay_whose_requests_hang_is_unhealthy_until_they_do_not() {
        const SHORT: Duration = Duration::from_millis(200);
        const LONG: Duration = Duration::from_secs(10);
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), "listen = ['127.0.0.1:0']\nadmin = '127.0.0.1:0'");
        let stopping = CancellationToken::new();
        let bound = Bound::default().and_bind(&settings).await.unwrap();
        let relay =
            Relay::new(settings, Metrics::new("stream_relay"), None, "run".into(), stopping.clone()).unwrap();
        let serving = tokio::spawn({
            let relay = relay.clone();
            async move { relay.serve(bound).await }
        });
        while relay.probes.get().is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(relay.health(LONG).await, Ok(()));
        // Whoever answers a request looks at the settings.
        let (held, is_held) = std::sync::mpsc::channel::<()>();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::spawn({
            let relay = relay.clone();
            move || {
                let _settings = relay.settings.write().unwrap();
                held.send(()).unwrap();
                let _ = released.recv();
            }
        });
        is_held.recv().unwrap();
        let trouble = relay.health(SHORT).await.unwrap_err();
        assert!(
            trouble.contains("127.0.0.1:") && trouble.contains("does not answer within 200ms"),
            "{trouble}"
        );
        drop(release);
        holder.join().unwrap();
        assert_eq!(relay.health(LONG).await, Ok(()));
        assert_eq!(relay.metrics.connections.get(), 0);
        // A relay that stops accepts nobody, and that is as it should be.
        stopping.cancel();
        assert_eq!(relay.health(LONG).await, Ok(()));
        serving.await.unwrap();
        assert_eq!(relay.health(LONG).await, Ok(()));
    }
}
