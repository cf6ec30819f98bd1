//! Connects to NATS, and keeps trying for as long as it takes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions, Event};
use tracing::warn;

use crate::tls;

use super::addresses::Addresses;
use super::probe::ServerProbe;
use super::rotation::Rotation;
use super::selector::Selector;
use super::settings::Nats;

/// The time between pings. Three without an answer are a lost connection, so 60 s: the library's own 60 s would leave
/// a host whose link fell silent unreachable for three minutes.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Commands that may wait for the connection.
const QUEUE: usize = 64;

impl Nats {
    /// Connects, and keeps trying in the background. `on_event` gets the events, among them failed tries now and then.
    /// With `inbox`, answers come to subjects below it.
    ///
    /// # Errors
    /// If the settings cannot be used at all. A server that is down is not an error.
    pub async fn connect(
        &self,
        name: &str,
        inbox: Option<String>,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Client> {
        let addresses = Arc::new(self.addresses());
        let mut options = self.options(&addresses)?.retry_on_initial_connect();
        options = options.name(self.name.as_deref().unwrap_or(name));
        options =
            options.ping_interval(PING_INTERVAL).subscription_capacity(self.queue).client_capacity(QUEUE);
        let configured = self.servers.configured();
        let rotation = Rotation::new(self.servers.clone());
        let selector = Arc::new(Selector::new(rotation, addresses.clone(), on_event).await);
        let selecting = selector.clone();
        options = options.reconnect_to_server_callback(move |pool, _| {
            let selector = selecting.clone();
            async move { selector.select(pool).await }
        });
        let observing = selector.clone();
        options = options.event_callback(move |event| {
            let selector = observing.clone();
            async move { selector.observe(event) }
        });
        if let Some(inbox) = inbox {
            options = options.custom_inbox_prefix(inbox);
        }
        let pool = [configured, &addresses.known()].concat();
        let client = options.connect(&pool[..]).await.context("NATS")?;
        if addresses.has_names() {
            tokio::spawn(selector.keep_pool_current(client.clone(), configured.to_vec()));
        }
        Ok(client)
    }

    /// Looks up each configured server, and connects to each of its addresses.
    pub async fn probe(&self) -> Vec<ServerProbe> {
        futures_util::future::join_all(self.servers.configured().iter().map(ServerProbe::run)).await
    }

    /// Connects once, for a test, and only to configured servers.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn try_connect(
        &self,
        probes: &[ServerProbe],
        inbox: String,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Client> {
        let on_event = Arc::new(on_event);
        let addresses = Arc::new(self.addresses());
        addresses.look_up().await;
        let options = self.options(&addresses)?.ignore_discovered_servers().custom_inbox_prefix(inbox);
        let options = options.retain_servers_order().event_callback(move |event| {
            let on_event = on_event.clone();
            async move { on_event(event) }
        });
        let reachable = probes.iter().filter(|probe| probe.is_reachable());
        let servers: Vec<_> = reachable.flat_map(|probe| probe.dial_order(addresses.has_names())).collect();
        if servers.is_empty() {
            // The library's own error says how the only address of a server fails.
            if !probes.iter().any(ServerProbe::has_several_addresses) {
                return options.connect(self.servers.configured()).await.context("NATS");
            }
            let failures: Vec<_> =
                probes.iter().map(|probe| format!("{}: {probe}", probe.server())).collect();
            return Err(Unreachable(failures.join("; ")).into());
        }
        options.connect(&servers[..]).await.context("NATS")
    }

    /// Reads the files of login and TLS as [`connect`](Nats::connect) does, without connecting.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn check_files(&self) -> Result<()> {
        self.options(&Arc::default()).map(drop)
    }

    /// The names that may be dialled by address.
    fn addresses(&self) -> Addresses {
        // If the library checks certificates itself, it knows only the name that is dialled.
        match self.servers.tls_names().is_some() && tls::unreadable_roots().is_some() {
            true => Addresses::default(),
            false => Addresses::new(self.servers.configured()),
        }
    }

    /// The options for login and TLS.
    fn options(&self, addresses: &Arc<Addresses>) -> Result<ConnectOptions> {
        let options = self.login.options()?;
        let Some(names) = self.servers.tls_names() else { return Ok(options) };
        if self.files.ca.is_none() {
            // The library reports nothing if the system trusts no CA.
            tls::system_roots().context("[nats]")?;
        }
        let config = self.files.client_config(names, addresses.clone()).context("[nats]")?;
        let options = options.require_tls(true);
        let options = if self.tls_first { options.tls_first() } else { options };
        // Before it takes our configuration, the library reads the system's certificates, and fails if it cannot.
        Ok(match (tls::unreadable_roots(), &self.files.ca) {
            (None, _) => options.tls_client_config(config),
            (Some(why), Some(ca)) => {
                warn!("NATS: {why}: servers that are not in nats.servers are not dialled");
                let options = options.ignore_discovered_servers().add_root_certificates(ca.clone());
                match &self.files.client {
                    Some((certificate, key)) => {
                        options.add_client_certificate(certificate.clone(), key.clone())
                    }
                    None => options,
                }
            }
            (Some(why), None) => {
                warn!("NATS: {why}: no connection until that is repaired, or ca_file is set");
                options.tls_client_config(config)
            }
        })
    }
}

/// No configured server accepts connections. The text has the error of each of their addresses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);
