//! Checks that commands for this host reach this agent, and no other one: it sends itself a `hello` through NATS after
//! every connect, and every minute.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use async_nats::Client;
use async_nats::connection::State;
use futures_util::StreamExt;
use humantime_serde::re::humantime::format_rfc3339_seconds;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{error, info, warn};

use net::backoff::jittered;
use protocol::command::{Subjects, TEST_EVENT};
use protocol::host::HostId;
use protocol::presence::{self, Alive, Gone};

use super::health::Health;
use super::hello::Hello;

/// How long the answer to our own hello may take.
const HELLO: Duration = Duration::from_secs(3);

/// How long other agents may take to answer it.
const OTHERS: Duration = Duration::from_millis(300);

/// Most answers of other agents that are read.
const MOST_OTHERS: usize = 8;

/// The longest time between proofs: a subscription can be lost without an event. One small message is cheap, also for
/// thousands of hosts.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The longest pause between proofs that failed.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// After so many failed proofs the agent reconnects, since a server may apply new permissions only to a new login. In
/// between it only subscribes again, which costs thousands of hosts and their server much less.
const RECONNECT_EVERY: u32 = 4;

/// The agent's place on NATS: proves its subscriptions, and finds other agents with its host id.
pub(crate) struct Registration {
    client: Client,
    subjects: Subjects,
    hello: Hello,
    /// When this run of the agent began, RFC 3339 in UTC.
    since: String,
    health: Arc<Health>,
    /// When another agent with this host id was last logged.
    doubled: Mutex<Option<Instant>>,
    /// The subscriptions must be made again.
    wanted: Notify,
    opened: Notify,
}

impl Registration {
    /// A new instance of the agent of `host`.
    pub(crate) fn new(client: Client, subjects: Subjects, host: HostId, health: Arc<Health>) -> Registration {
        Registration {
            client,
            subjects,
            hello: Hello::new(host),
            since: format_rfc3339_seconds(SystemTime::now()).to_string(),
            health,
            doubled: Mutex::default(),
            wanted: Notify::new(),
            opened: Notify::new(),
        }
    }

    pub(crate) fn host(&self) -> &HostId {
        self.hello.host()
    }

    /// A ULID for this run of the agent.
    pub(crate) fn instance(&self) -> &str {
        self.hello.instance()
    }

    /// Resolves when all subscriptions must be made again.
    pub(crate) async fn subscriptions_wanted(&self) {
        self.wanted.notified().await;
    }

    /// To be called when they were.
    pub(crate) fn has_subscribed(&self) {
        self.opened.notify_one();
    }

    /// Proves after every connect, and every minute, that messages to our subjects arrive, and looks for other agents
    /// with this host id. `ready` is called after the first proof.
    pub(crate) async fn prove(self: Arc<Self>, ready: impl FnOnce()) {
        let mut connects = self.health.connects();
        let mut ready = Some(ready);
        let mut failed = 0;
        if connects.wait_for(|count| *count > 0).await.is_err() {
            return;
        }
        connects.mark_changed();
        loop {
            let is_new = connects.has_changed().unwrap_or_default();
            connects.mark_unchanged();
            // The event of a connect may come before the state changes.
            if is_new || self.client.connection_state() == State::Connected {
                match self.proof().await {
                    Ok(others) => {
                        if is_new || failed > 0 {
                            info!("NATS: connected, subscribed to {}", self.subjects.root());
                        }
                        failed = 0;
                        self.health.status().receiving();
                        self.compare(&others);
                        self.sign_of_life().await;
                        if let Some(ready) = ready.take() {
                            ready();
                        }
                    }
                    Err(why) => {
                        failed += 1;
                        self.repair(failed, &why, &mut connects).await;
                        continue;
                    }
                }
            }
            tokio::select! {
                changed = connects.changed() => match changed {
                    // The loop's start looks at it.
                    Ok(()) => connects.mark_changed(),
                    Err(_) => return,
                },
                () = self.health.doubt() => {}
                () = sleep(spread(LOOK_AGAIN)) => {
                    if !self.health.has_no_complaint() {
                        self.subscribe_again().await;
                    }
                }
            }
        }
    }

    /// Publishes that this host is there. After every proof, so that it costs no timer of its own.
    async fn sign_of_life(&self) {
        let alive = Alive {
            v: presence::VERSION,
            host: self.host().clone(),
            instance: self.instance().to_owned(),
            version: self.hello.version().to_owned(),
            since: self.since.clone(),
            every: LOOK_AGAIN.as_secs(),
        };
        self.publish(presence::ALIVE, &alive).await;
    }

    /// Publishes that this agent takes no more commands.
    pub(crate) async fn gone(&self) {
        let gone =
            Gone { v: presence::VERSION, host: self.host().clone(), instance: self.instance().to_owned() };
        self.publish(presence::GONE, &gone).await;
    }

    async fn publish(&self, kind: &str, message: &impl Serialize) {
        // Strings and numbers always serialise, and a client that is gone ends the agent.
        let payload = serde_json::to_vec(message).unwrap_or_default();
        let _ = self.client.publish(self.subjects.presence(kind), payload.into()).await;
    }

    /// Logs what is wrong, pauses, and subscribes or connects again.
    async fn repair(&self, failed: u32, why: &anyhow::Error, connects: &mut watch::Receiver<u64>) {
        let wait = pause_after_refusal(failed);
        // Rarely for a trouble that lasts: the status shows it.
        if failed == 1 || failed.is_multiple_of(RECONNECT_EVERY * 4) {
            warn!("NATS: {why:#}; trying again, at least every {} s", TRY_AGAIN.as_secs());
        }
        self.health.status().not_receiving(format_args!("{why:#}"));
        tokio::select! {
            () = sleep(wait) => {}
            _ = connects.changed() => return connects.mark_changed(),
        }
        if failed.is_multiple_of(RECONNECT_EVERY) {
            // Fails only if the client is gone: then the agent ends.
            let _ = self.client.force_reconnect().await;
            // The next proof is for the new connection.
            let _ = timeout(TRY_AGAIN, connects.changed()).await;
            connects.mark_changed();
        } else {
            self.subscribe_again().await;
        }
    }

    /// Has all subscriptions made again on the same connection, and tries again to publish if that was refused.
    async fn subscribe_again(&self) {
        let were_events_refused = self.health.refuses_events(&self.subjects);
        self.health.forget();
        if were_events_refused {
            // Fails only if the client is gone: then the agent ends.
            let _ = self.client.publish(self.subjects.event("test"), TEST_EVENT.into()).await;
        }
        self.wanted.notify_one();
        // Without a connection nothing is sent; the next proof finds that out.
        let _ = timeout(HELLO, self.opened.notified()).await;
    }

    /// Sends a hello to ourselves. The server handles subscriptions in order, and hello is the last: if its message
    /// arrives and the server has not complained, all subscriptions are active.
    async fn proof(&self) -> Result<Vec<Hello>> {
        let others = self.greet().await?;
        match self.health.complaint() {
            Some(text) => Err(anyhow::anyhow!("{}", text.trim_start_matches("NATS: ").to_owned())),
            None => Ok(others),
        }
    }

    /// Sends a hello to our own subject, and returns every other instance that answers.
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
        let mut is_own_seen = false;
        let mut until = Instant::now() + HELLO;
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            match Hello::parse(&answer.payload, self.host()) {
                Some(hello) if hello.instance() == self.instance() => {
                    is_own_seen = true;
                    until = until.min(Instant::now() + OTHERS);
                }
                Some(hello) if others.len() < MOST_OTHERS => others.push(hello),
                // The server's "no responders" has no payload.
                _ => {}
            }
        }
        anyhow::ensure!(
            is_own_seen,
            "our own subject {} does not reach us: check the permissions (docs/protocol.md)",
            self.subjects.hello()
        );
        Ok(others)
    }

    /// Answers a hello, of this agent or another one.
    pub(crate) fn answer_hello(&self, payload: &[u8]) -> Hello {
        if let Some(hello) = Hello::parse(payload, self.host())
            && hello.instance() != self.instance()
        {
            self.doubled(&hello);
        }
        self.hello.clone()
    }

    /// Reports the other instances that a proof found.
    fn compare(&self, others: &[Hello]) {
        if others.is_empty() {
            self.health.status().doubled(None);
        }
        for other in others {
            self.doubled(other);
        }
    }

    /// Logs another instance, at most once between two proofs: every NATS client can claim to be one.
    fn doubled(&self, other: &Hello) {
        let now = Instant::now();
        // Nothing panics while holding it.
        let mut logged = self.doubled.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|logged| now < logged + LOOK_AGAIN / 2) {
            return;
        }
        *logged = Some(now);
        drop(logged);
        let text = format!(
            "another agent answers for host id {} (instance {}, version {}): give one of them another host_id",
            self.host(),
            other.instance(),
            other.version()
        );
        error!("{text}");
        self.health.status().doubled(Some(text));
    }
}

/// Permissions are changed by people, so there is no hurry.
fn pause_after_refusal(failed: u32) -> Duration {
    spread(Duration::from_secs(1 << failed.min(6)).min(TRY_AGAIN))
}

/// From half of `max` to all of it, so that thousands of hosts do not act in the same moment.
fn spread(max: Duration) -> Duration {
    jittered(max, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute() {
        assert!((1..100).map(pause_after_refusal).all(|pause| pause <= TRY_AGAIN));
        assert!(pause_after_refusal(1) >= Duration::from_secs(1));
        assert!(pause_after_refusal(50) >= TRY_AGAIN / 2);
    }
}
