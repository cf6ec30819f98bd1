//! Selects the server for the next try to connect, and when it is tried.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, ClientError, Event, ReconnectToServer, Server, ServerAddr};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::debug;

use net::backoff::Backoff;

use super::addresses::Addresses;
use super::failure_log::FailureLog;
use super::rotation::Rotation;

/// The pauses between tries: thousands of hosts must not come back in the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// How long the first lookup of names may take: the resolver may not answer while a host boots.
const FIRST_LOOKUP: Duration = Duration::from_secs(3);

/// How often names are looked up while connected: the library takes new addresses only then.
const LOOKUP_PERIOD: Duration = Duration::from_secs(600);

pub(super) struct Selector {
    rotation: Rotation,
    addresses: Arc<Addresses>,
    on_event: Box<dyn Fn(Event) + Send + Sync>,
    failures: FailureLog,
    /// Starts again with each connection.
    pauses: Mutex<Backoff>,
    connected: Notify,
}

impl Selector {
    /// Looks up the addresses. `on_event` gets the library's events, and those of failed tries.
    pub(super) async fn new(
        rotation: Rotation,
        addresses: Arc<Addresses>,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Selector {
        if addresses.has_names() && timeout(FIRST_LOOKUP, addresses.look_up()).await.is_err() {
            debug!("NATS: names are looked up later");
        }
        Selector {
            rotation,
            addresses,
            on_event: Box::new(on_event),
            failures: FailureLog::default(),
            pauses: Mutex::new(Backoff::new(FIRST_PAUSE, MAX_PAUSE)),
            connected: Notify::new(),
        }
    }

    /// Waits for the time of the next try, and returns a server of `pool` that probably accepts connections.
    pub(super) async fn select(&self, pool: Vec<Server>) -> Option<ReconnectToServer> {
        self.failed(self.failures.begin(None, &pool));
        let by_address = self.addresses.known();
        let announced = |server: &Server| !by_address.contains(&server.addr);
        let (others, own): (Vec<Server>, Vec<Server>) = pool.iter().cloned().partition(announced);
        loop {
            let server = self.rotation.next(&others)?;
            let pause = self.pauses().wait_jittered();
            sleep(pause).await;
            match self.addresses.choose(&server, &own).await {
                Ok(addr) => {
                    self.failures.begin(Some(&addr), &pool);
                    return Some(ReconnectToServer { addr, delay: Some(Duration::ZERO) });
                }
                Err(why) => self.failed(self.failures.failed(&server, &why)),
            }
        }
    }

    fn pauses(&self) -> MutexGuard<'_, Backoff> {
        // Nothing panics while holding it.
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, line: Option<String>) {
        if let Some(line) = line {
            (self.on_event)(Event::ClientError(ClientError::Other(line)));
        }
    }

    /// Takes an event of the library, and passes it on unless a better one replaces it.
    pub(super) fn observe(&self, event: Event) {
        match &event {
            // The library's own event for a failed try names neither server nor reason.
            Event::ClientError(ClientError::Other(text)) => return debug!("NATS: {text}"),
            Event::Connected => {
                self.pauses().reset();
                self.failures.connected();
                self.addresses.connected();
                self.connected.notify_one();
            }
            _ => {}
        }
        (self.on_event)(event);
    }

    /// Gives the library the addresses that the resolver has, again and again until the client ends.
    pub(super) async fn keep_pool_current(self: Arc<Selector>, client: Client, configured: Vec<ServerAddr>) {
        loop {
            let _ = timeout(LOOKUP_PERIOD, self.connected.notified()).await;
            let before = self.addresses.known();
            self.addresses.look_up().await;
            let now = self.addresses.known();
            // Resolves when the client is connected again.
            let Ok(pool) = client.server_pool().await else { return };
            let pool: Vec<ServerAddr> = pool.into_iter().map(|server| server.addr).collect();
            let own = [&configured[..], &now].concat();
            let announced = pool.iter().filter(|addr| !own.contains(addr) && !before.contains(addr));
            let wanted: Vec<ServerAddr> = own.iter().chain(announced).cloned().collect();
            let is_same = wanted.iter().all(|addr| pool.contains(addr))
                && pool.iter().all(|addr| wanted.contains(addr));
            if !is_same && let Err(error) = client.set_server_pool(&wanted[..]).await {
                debug!("NATS: new addresses are not taken: {error}");
            }
        }
    }
}
