//! The relay: where hosts and clients meet. Knows neither NATS nor targets.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::daemon::metrics::Metrics;
use crate::daemon::tls::ReloadingServer;

use accept::Purpose;
use config::{Auth, Settings};
use host::HostLeg;
use listener::Listener;
use metrics::RelayMetrics;
use rendezvous::Rendezvous;
use routes::Api;

pub use listener::Bound;

mod accept;
mod admin;
pub mod answer;
mod client;
pub mod config;
mod host;
mod listener;
mod metrics;
mod peer;
pub mod rendezvous;
pub mod routes;

/// How long peers may take to answer the last farewell when the relay stops.
const FAREWELLS: Duration = Duration::from_secs(5);

/// A running relay.
pub struct Relay {
    settings: RwLock<Arc<Settings>>,
    tls: Option<ReloadingServer>,
    rendezvous: Rendezvous<HostLeg>,
    metrics: RelayMetrics,
    all_metrics: Metrics,
    api: Option<Arc<dyn Api>>,
    /// Grants that are older were perhaps used before, and nobody remembers.
    started: SystemTime,
    /// Takes nothing new.
    stopping: CancellationToken,
    /// Nothing may go on any longer.
    drained: CancellationToken,
    /// Every host and client that still needs a farewell.
    tasks: TaskTracker,
}

impl Relay {
    /// A relay that is ready to serve. `api` answers below `/api/`.
    ///
    /// # Errors
    /// When certificate or key cannot be used.
    pub fn new(
        settings: Settings,
        mut metrics: Metrics,
        api: Option<Arc<dyn Api>>,
        stopping: CancellationToken,
    ) -> Result<Arc<Relay>> {
        let tls = match &settings.tls {
            None => None,
            Some((certificate, key)) => Some(ReloadingServer::new(certificate, key)?),
        };
        Ok(Arc::new(Relay {
            rendezvous: Rendezvous::new(settings.caps),
            metrics: RelayMetrics::register(&mut metrics),
            all_metrics: metrics,
            settings: RwLock::new(Arc::new(settings)),
            tls,
            api,
            started: SystemTime::now(),
            stopping,
            drained: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Serves until `stopping`, then drains: linked streams may go on for `drain_timeout`, and are then
    /// closed with 1012; everybody hears a farewell.
    pub async fn serve(self: &Arc<Self>, bound: Bound) {
        if bound.public.iter().any(|listener| listener.name().is_some()) {
            info!("sockets came from systemd: `listen` is not used");
        }
        let mut serving = Vec::new();
        for listener in bound.public {
            self.announce(&listener);
            serving.push(tokio::spawn(accept::serve(self.clone(), listener, Purpose::Public)));
        }
        for listener in bound.admin {
            info!("admin at {}{}", listener.address(), origin(&listener));
            serving.push(tokio::spawn(accept::serve(self.clone(), listener, Purpose::Admin)));
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
        }
        let needs_restart = settings.needs_restart_after(&self.settings());
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(needs_restart)
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

    /// For the status line: parked hosts, waiting clients, linked streams.
    pub fn status(&self) -> String {
        let (hosts, clients) = self.rendezvous.counts();
        format!("{} streams, {hosts} hosts parked, {clients} clients waiting", self.streams())
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.as_ref().map(ReloadingServer::config)
    }

    /// Whether clients reach us by `wss://`, here or at the proxy in front.
    fn is_https(&self) -> bool {
        self.tls.is_some() || self.settings().public_urls.iter().all(|url| url.starts_with("wss://"))
    }
}

/// Where a listener is from, for the log.
fn origin(listener: &Listener) -> String {
    listener.name().map(|name| format!(", a socket of systemd ({name})")).unwrap_or_default()
}
