//! Whether commands for this host reach this agent, and only this one: greets itself through NATS after
//! every connect.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::connection::State;
use async_nats::{Client, Event};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::daemon::nats::explain;
use crate::link::backoff::random_fraction;
use crate::protocol::command::{Subjects, VERSION};
use crate::protocol::host::HostId;

use super::status::Status;

/// How long the answer to our own hello may take.
const HELLO: Duration = Duration::from_secs(3);

/// How long others may take to answer our hello.
const OTHERS: Duration = Duration::from_millis(300);

/// How long after another agent with our host id was heard of we look again; also the longest pause
/// between proofs that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What agents tell each other: who answers for this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    v: u64,
    host: HostId,
    instance: String,
    version: String,
}

/// How the connection to NATS is, as its events tell.
pub struct Health {
    servers: String,
    status: Status,
    /// Counts connects: each must be proven anew.
    connects: watch::Sender<u64>,
    /// What the server has refused since the last connect.
    complaints: Mutex<Vec<String>>,
}

impl Health {
    /// Not connected yet.
    pub fn new(servers: String, status: Status) -> Arc<Health> {
        status.unheard(format_args!("connecting to NATS at {servers}"));
        Arc::new(Health { servers, status, connects: watch::Sender::new(0), complaints: Mutex::default() })
    }

    /// Something happened.
    pub fn told(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.lock().clear();
                self.status.trouble(None);
                self.connects.send_modify(|count| *count += 1);
            }
            Event::Disconnected => {
                warn!("NATS: disconnected from {}; open streams go on", self.servers);
                self.status.unheard("NATS disconnected, trying again");
            }
            Event::ServerError(_) => {
                let text = explain(event);
                error!("{text}");
                self.lock().push(text.clone());
                self.status.trouble(Some(text));
            }
            Event::ClientError(_) => {
                let text = explain(event);
                warn!("{text}");
                self.status.nats(text);
            }
            // We do both ourselves, at the end.
            Event::Draining | Event::Closed => debug!("{}", explain(event)),
            other => warn!("{}", explain(other)),
        }
    }

    fn complaints(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        // Nothing panics while holding it.
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This agent, as it is seen on NATS.
pub struct Presence {
    client: Client,
    subjects: Subjects,
    hello: Hello,
    health: Arc<Health>,
    /// Another agent with our host id has spoken.
    other: Notify,
}

impl Presence {
    /// A new instance of the agent of `host`.
    pub fn new(client: Client, subjects: Subjects, host: HostId, health: Arc<Health>) -> Presence {
        let hello = Hello {
            v: VERSION,
            host,
            instance: ulid::Ulid::generate().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        Presence { client, subjects, hello, health, other: Notify::new() }
    }

    /// This host.
    pub fn host(&self) -> &HostId {
        &self.hello.host
    }

    /// This run of the agent, and no other.
    pub fn instance(&self) -> &str {
        &self.hello.instance
    }

    /// Proves after every connect that our subjects reach us, and looks for others who answer for us.
    pub async fn prove(self: Arc<Self>, ready: impl FnOnce()) {
        let mut connects = self.health.connects.subscribe();
        let mut ready = Some(ready);
        let mut failed = 0;
        while connects.wait_for(|count| *count > 0).await.is_ok() {
            connects.mark_unchanged();
            match self.proof().await {
                Ok(others) => {
                    failed = 0;
                    info!("NATS: connected, {} is heard", self.subjects.root());
                    self.health.status.heard();
                    if others.is_empty() {
                        self.health.status.doubled(None);
                    }
                    for other in &others {
                        self.doubled(other);
                    }
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                }
                Err(why) => {
                    failed += 1;
                    let wait = pause_after_refusal(failed);
                    warn!("NATS: {why:#}; trying again in {} s", wait.as_secs());
                    self.health.status.unheard(format_args!("{why:#}"));
                    sleep(wait).await;
                    // Only a new connection asks for all subscriptions anew; one may have come meanwhile.
                    let is_connected = self.client.connection_state() == State::Connected;
                    if is_connected && connects.has_changed().is_ok_and(|changed| !changed) {
                        // It fails only when the client is gone, and then so are we.
                        let _ = self.client.force_reconnect().await;
                    }
                }
            }
            tokio::select! {
                changed = connects.changed() => if changed.is_err() { return },
                () = async { self.other.notified().await; sleep(LOOK_AGAIN).await } => {}
            }
        }
    }

    /// Greets ourselves: the one subject that came first and last through the server shows that those in
    /// between did, too, unless it complained.
    async fn proof(&self) -> Result<Vec<Hello>> {
        let others = self.greet().await?;
        let own = [self.subjects.start(), self.subjects.stop(), self.subjects.targets()];
        let complaints = self.health.complaints();
        let refused = complaints.into_iter().find(|text| own.iter().any(|subject| text.contains(subject)));
        match refused {
            Some(text) => Err(anyhow::anyhow!("{}", text.trim_start_matches("NATS: ").to_owned())),
            None => Ok(others),
        }
    }

    /// Asks our own hello subject, and gives back every other instance that answers.
    async fn greet(&self) -> Result<Vec<Hello>> {
        let inbox = self.client.new_inbox();
        let mut answers =
            self.client.subscribe(inbox.clone()).await.context("cannot subscribe to the inbox")?;
        let payload = serde_json::to_vec(&self.hello)?;
        self.client
            .publish_with_reply(self.subjects.hello(), inbox, payload.into())
            .await
            .context("cannot publish")?;
        let mut others = Vec::new();
        let mut heard_ourselves = false;
        let mut limit = HELLO;
        while let Ok(Some(answer)) = timeout(limit, answers.next()).await {
            match serde_json::from_slice::<Hello>(&answer.payload) {
                Ok(hello) if hello.instance == self.hello.instance => heard_ourselves = true,
                Ok(hello) => others.push(hello),
                // Nobody listens yet: the server's own word for it has no payload.
                Err(_) => {}
            }
            if heard_ourselves {
                limit = OTHERS;
            }
        }
        anyhow::ensure!(
            heard_ourselves,
            "our own subject {} does not reach us: check the permissions (docs/protocol.md)",
            self.subjects.hello()
        );
        Ok(others)
    }

    /// Somebody asks who answers for this host.
    pub fn hear(&self, payload: &[u8]) -> Hello {
        if let Ok(hello) = serde_json::from_slice::<Hello>(payload)
            && hello.instance != self.hello.instance
        {
            self.doubled(&hello);
        }
        self.hello.clone()
    }

    fn doubled(&self, other: &Hello) {
        let text = format!(
            "another agent answers for host id {} (instance {}, version {}): give one of them another host_id",
            self.hello.host, other.instance, other.version
        );
        error!("{text}");
        self.health.status.doubled(Some(text));
        self.other.notify_one();
    }
}

/// Somebody has to change the server's permissions: that is not done in a second.
fn pause_after_refusal(failed: u32) -> Duration {
    let most = Duration::from_secs(1 << failed.min(6)).min(LOOK_AGAIN);
    most.mul_f64(0.5 + 0.5 * random_fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        assert!((1..100).map(pause_after_refusal).all(|pause| pause <= LOOK_AGAIN));
        assert!(pause_after_refusal(1) >= Duration::from_secs(1));
        assert!(pause_after_refusal(50) >= LOOK_AGAIN / 2);
    }

    #[test]
    fn a_new_connect_forgets_the_complaints_of_the_last() {
        use async_nats::ServerError;
        let status = Status::default();
        let health = Health::new("nats:4222".into(), status.clone());
        let text = "Permissions Violation for Subscription to \"a.start\"";
        health.told(&Event::ServerError(ServerError::Other(text.into())));
        assert!(health.complaints()[0].contains("a.start") && status.line().contains("a.start"));
        health.told(&Event::Connected);
        assert!(health.complaints().is_empty() && !status.line().contains("a.start"));
        assert_eq!(*health.connects.subscribe().borrow(), 1);
    }
}
