//! The bundled platform, for self-hosting: decides who may open what, signs grants, sends commands to hosts over NATS,
//! and returns URLs. It knows the relay only by its URLs.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use protocol::host::HostId;
use protocol::token::TokenHash;
use service::metrics::Registry;

use bus::Bus;
use changes::{Change, Changes};
use config::Settings;
use counts::Counts;
use hosts::Hosts;
use identity::{OwnOrigins, SignIn};
use session_index::SessionIndex;
use usage::Usage;
use watch::Watch;

pub mod api;
mod bus;
mod calls;
mod changes;
pub mod config;
mod counts;
mod denied;
mod hosts;
mod identity;
pub mod inspect;
mod key;
pub mod keygen;
mod numbers;
mod open_request;
mod policy;
mod session_index;
mod stream_event;
#[cfg(test)]
mod testing;
mod usage;
mod watch;
mod whole_number;

pub struct Platform {
    current: RwLock<Arc<Current>>,
    /// Id of this run of the program, which is in every grant as `relay_run`.
    run: String,
    bus: Arc<Bus>,
    sign_in: SignIn,
    hosts: Arc<Hosts>,
    sessions: Arc<SessionIndex>,
    changes: Arc<Changes>,
    watch: Arc<Watch>,
    usage: Arc<Usage>,
    counts: Counts,
    /// What listens to NATS ends with the platform.
    _tasks: JoinSet<()>,
}

/// The part that a reload replaces as a whole.
struct Current {
    settings: Settings,
    /// URL of the relay, for clients and hosts.
    relay: String,
    /// Where browsers reach the relay.
    origins: OwnOrigins,
    /// How long a parked host waits at the relay.
    host_wait: Duration,
    /// The hosts that keys list, which are shown before they were seen.
    named: BTreeSet<HostId>,
}

impl Current {
    fn new(settings: Settings, public_urls: &[String], host_wait: Duration) -> Current {
        let listed = settings.policy.keys().iter().flat_map(|key| &key.hosts);
        let named = listed.filter_map(|host| host.parse().ok()).collect();
        let relay = public_urls.first().cloned().unwrap_or_default();
        Current { settings, relay, origins: OwnOrigins::new(public_urls), host_wait, named }
    }
}

impl Platform {
    /// Connects to NATS. Clients and hosts use the first of `public_urls`, browsers sign in at any of them; hosts wait
    /// at the relay for `host_wait`. The relay knows by `run` that a grant was signed after it started.
    ///
    /// # Errors
    /// If the settings cannot be used. An unreachable NATS server is not an error.
    pub async fn start(
        settings: Settings,
        public_urls: &[String],
        host_wait: Duration,
        run: String,
    ) -> Result<Platform> {
        let bus = Arc::new(Bus::connect(&settings.nats).await?);
        let sign_in = SignIn::open(settings.state_dir.as_deref());
        let changes = Arc::new(Changes::default());
        let hosts = Arc::new(Hosts::new(changes.clone()));
        let sessions = Arc::new(SessionIndex::new(changes.clone()));
        let usage = Arc::new(Usage::default());
        let watch = Watch::new(bus.clone(), &settings.prefix, hosts.clone(), sessions.clone());
        let watch = Arc::new(watch);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch.clone().listen());
        tasks.spawn(watch.clone().ask());
        let used = usage.clone();
        tasks.spawn(watch.clone().sweep(move |token| used.is_open(token)));
        Ok(Platform {
            current: RwLock::new(Arc::new(Current::new(settings, public_urls, host_wait))),
            run,
            bus,
            sign_in,
            hosts,
            sessions,
            changes,
            watch,
            usage,
            counts: Counts::default(),
            _tasks: tasks,
        })
    }

    /// Registers what the platform counts; call it once, before the metrics are rendered.
    pub fn register(&self, registry: &mut Registry) {
        self.counts.register(registry);
    }

    /// Takes over new settings: keys, policy, limits, the relay's URLs, the key of signing in. NATS and the subjects
    /// stay as they were: true if they should not.
    pub fn reload(&self, settings: Settings, public_urls: &[String], host_wait: Duration) -> bool {
        let old = self.current();
        let needs_restart = settings.nats != old.settings.nats || settings.prefix != old.settings.prefix;
        let (nats, prefix) = (old.settings.nats.clone(), old.settings.prefix.clone());
        self.usage.keep(settings.policy.keys());
        self.sign_in.reload(settings.state_dir.as_deref());
        let current = Current::new(Settings { nats, prefix, ..settings }, public_urls, host_wait);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        // Keys may see other hosts now.
        self.changes.add(Change::All);
        needs_restart
    }

    /// Says how to find out whether the relay has the session of a token, open or parked.
    pub fn looks_at(&self, is_open: impl Fn(&TokenHash) -> bool + Send + Sync + 'static) {
        self.usage.looks_at(is_open);
    }

    /// Whether sessions can be opened.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ready(&self) -> Result<(), String> {
        self.bus.ready()
    }

    /// Whether the connection to NATS does its part; a server that is away is no fault of ours.
    ///
    /// # Errors
    /// When it is stuck.
    pub fn health(&self) -> Result<(), String> {
        self.bus.health().map_err(|why| format!("platform: {why}"))
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
