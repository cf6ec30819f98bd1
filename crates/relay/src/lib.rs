//! The relay: where hosts and clients meet. Knows neither NATS nor targets.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use protocol::token::TokenHash;
use service::counted::Counted;
use service::metrics::Metrics;

use http1::server::listener::Listener;
use http1::server::probe::{Probe, probe};

use accept::Purpose;
use api::Api;
use config::Settings;
use state::State;

pub use bound::Bound;

mod accept;
pub mod api;
mod bound;
mod client;
pub mod config;
mod connect;
mod host;
mod metrics;
mod page_origin;
pub mod pages;
mod peer;
mod refusal;
mod relayed;
pub mod rendezvous;
mod routes;
mod slots;
mod state;
mod waiting;

/// How long peers may take to answer the last close frame when the relay stops.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

pub struct Relay {
    state: Arc<State>,
    /// One for each public listener, once they are served.
    probes: OnceLock<Vec<Probe>>,
}

impl Relay {
    /// A relay that is ready to serve. `api` answers below `/api/`; a grant that names `run` was signed during this
    /// run.
    ///
    /// # Errors
    /// If the certificate or its key cannot be used.
    pub fn new(
        settings: Settings,
        metrics: Metrics,
        api: Option<Arc<dyn Api>>,
        run: String,
        stopping: CancellationToken,
    ) -> Result<Arc<Relay>> {
        let state = State::new(settings, metrics, api, run, stopping)?;
        Ok(Arc::new(Relay { state: Arc::new(state), probes: OnceLock::new() }))
    }

    /// Serves until `stopping`, then drains: linked streams may go on for `drain_timeout`, and are then
    /// closed with 1012. Every peer gets a close frame.
    pub async fn serve(self: &Arc<Self>, bound: Bound) {
        if bound.public.iter().any(|listener| listener.name().is_some()) {
            info!("sockets came from systemd: `listen` is not used");
        }
        let (mut serving, mut probes) = (Vec::new(), Vec::new());
        for listener in bound.public {
            self.announce(&listener);
            let (probe, visits) = probe(listener.address());
            probes.push(probe);
            serving.push(tokio::spawn(accept::serve(self.state.clone(), listener, Purpose::Public, visits)));
        }
        // Cannot fail: a relay serves once.
        let _ = self.probes.set(probes);
        for listener in bound.admin {
            info!("admin at {}{}", listener.address(), origin(&listener));
            let (_, visits) = probe(listener.address());
            serving.push(tokio::spawn(accept::serve(self.state.clone(), listener, Purpose::Admin, visits)));
        }
        self.state.stopping.cancelled().await;
        self.state.tasks.close();
        let drain = self.state.settings().drain_timeout;
        if tokio::time::timeout(drain, self.state.tasks.wait()).await.is_err() {
            let streams = Counted(self.state.tasks.len(), "stream");
            info!("{streams} still open after {drain:?}: closing what is left");
        }
        self.state.drained.cancel();
        if tokio::time::timeout(CLOSE_WAIT, self.state.tasks.wait()).await.is_err() {
            info!("{} not answered", Counted(self.state.tasks.len(), "close frame"));
        }
        for task in serving {
            // A panic of a listener is in the log already.
            let _ = task.await;
        }
        self.state.unknown_peers.summarise();
        self.state.dials.summarise();
        self.state.faults.summarise();
    }

    fn announce(&self, listener: &Listener) {
        let (address, from) = (listener.address(), origin(listener));
        info!("listening at {address}{}{from}", if self.state.has_tls() { " with TLS" } else { "" });
        if !self.state.has_tls() && listener.is_open_to_others() {
            warn!(
                "{address} is served without [tls]: tokens and streams travel in clear; set [tls], or listen on \
                 loopback behind a proxy"
            );
        }
    }

    /// Takes over new settings: limits, keys, issuers, trusted proxies, the page, and the certificate's new
    /// files.
    /// True: something else changed too (addresses, caps), which needs a restart.
    ///
    /// # Errors
    /// If the new certificate cannot be used; then the old settings stay.
    pub fn reload(&self, settings: Settings) -> Result<bool> {
        self.state.reload(settings)
    }

    /// Checks that every public listener accepts and answers a request within `limit`. A relay that stops accepts
    /// nothing, and passes.
    ///
    /// # Errors
    /// The listener that does not.
    pub async fn health(&self, limit: Duration) -> Result<(), String> {
        let checks = self.probes.get().into_iter().flatten().map(async |probe| {
            match tokio::time::timeout(limit, probe.look()).await {
                Ok(looked) => looked,
                Err(_) => {
                    Err(format!("the listener at {} does not answer within {limit:?}", probe.address()))
                }
            }
        });
        let looked = tokio::select! {
            biased;
            () = self.state.stopping.cancelled() => return Ok(()),
            looked = futures_util::future::join_all(checks) => looked.into_iter().collect(),
        };
        // An accept loop may have ended because the relay stops, after it was asked.
        if self.state.stopping.is_cancelled() { Ok(()) } else { looked }
    }

    /// Whether the relay can serve streams.
    ///
    /// # Errors
    /// What prevents it.
    pub fn ready(&self) -> Result<(), String> {
        self.state.ready()
    }

    /// The number of linked streams.
    pub fn streams(&self) -> i64 {
        self.state.streams()
    }

    /// Whether the session of this token is here: its host parked, or a stream open.
    pub fn has(&self, token: &TokenHash) -> bool {
        self.state.has(token)
    }

    /// The status line: numbers of linked streams, parked hosts and waiting clients.
    pub fn status(&self) -> String {
        self.state.status()
    }
}

/// Where a listener comes from, for the log.
fn origin(listener: &Listener) -> String {
    listener.name().map(|name| format!(", a socket of systemd ({name})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::signing::SigningKey;
    use service::config::Loaded;

    /// Settings with one issuer's key, and these lines.
    fn settings(dir: &std::path::Path, lines: &str) -> Settings {
        let (key, _) = SigningKey::generate("k1").unwrap();
        std::fs::write(dir.join("k1.pub"), keys::public_pem(&key)).unwrap();
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
        // Every request reads the settings, so a writer that holds the lock blocks all of them.
        let (held, is_held) = std::sync::mpsc::channel::<()>();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let holder = std::thread::spawn({
            let relay = relay.clone();
            move || {
                let _settings = relay.state.settings.write().unwrap();
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
        assert_eq!(relay.state.metrics.connections.get(), 0);
        // A relay that stops accepts nothing, and is not unhealthy for that.
        stopping.cancel();
        assert_eq!(relay.health(LONG).await, Ok(()));
        serving.await.unwrap();
        assert_eq!(relay.health(LONG).await, Ok(()));
    }
}
