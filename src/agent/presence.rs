//! Whether commands for this host reach this agent, and only this one: greets itself through NATS after every connect
//! and now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::connection::State;
use async_nats::{Client, Event};
use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use crate::daemon::nats::explain;
use crate::daemon::throttle::Throttle;
use crate::link::backoff::random_fraction;
use crate::protocol::command::{Subjects, TEST_EVENT};
use crate::protocol::host::HostId;
use crate::protocol::plain::plain;

use super::hello::Hello;
use super::status::Status;

/// How long the answer to our own hello may take.
const HELLO: Duration = Duration::from_secs(3);

/// How long others may take to answer our hello.
const OTHERS: Duration = Duration::from_millis(300);

/// Other agents that are listened to after one hello.
const MOST_OTHERS: usize = 8;

/// How long after a proof the next one comes, at most: a subscription can be lost without a word. One small message
/// to ourselves is cheap for thousands of hosts too.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The longest pause between proofs that failed.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// After so many proofs that failed the connection is made again: a server may know a renewed login's permissions only
/// then. In between the subscriptions alone are, which costs thousands of hosts and their server much less.
const RECONNECT_EVERY: u32 = 4;

/// The longest text of the server that is kept, in bytes.
const MAX_COMPLAINT: usize = 300;

/// What the server may refuse us, kept until the next look.
const MOST_COMPLAINTS: usize = 16;

/// How the connection to NATS is, as its events tell.
pub struct Health {
    servers: String,
    /// The subjects that commands come to, as they stand in the server's complaints.
    own: Vec<String>,
    status: Status,
    /// Counts connects: each must be proven.
    connects: watch::Sender<u64>,
    complaints: Mutex<Complaints>,
    /// A subscription may be gone.
    doubt: Notify,
    troubles: Throttle<&'static str>,
}

/// What the server has refused since the subscriptions were made.
#[derive(Default)]
struct Complaints {
    texts: Vec<String>,
    /// Events came faster than they were heard: there may have been others.
    is_incomplete: bool,
}

impl Health {
    /// Not connected yet.
    pub fn new(
        servers: String,
        subjects: &Subjects,
        status: Status,
        troubles: Throttle<&'static str>,
    ) -> Arc<Health> {
        status.unheard(format_args!("connecting to NATS at {servers}"));
        let own = [subjects.start(), subjects.stop(), subjects.targets(), subjects.hello()];
        Arc::new(Health {
            servers,
            own: own.map(|subject| format!("\"{subject}\"")).into(),
            status,
            connects: watch::Sender::new(0),
            complaints: Mutex::default(),
            doubt: Notify::new(),
            troubles,
        })
    }

    /// Something happened.
    pub fn told(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.forget();
                self.connects.send_modify(|count| *count += 1);
            }
            Event::Disconnected => {
                warn!("NATS: disconnected from {}; open streams go on", self.servers);
                self.status.unheard("NATS disconnected, trying again");
            }
            Event::ServerError(_) => self.refused(&explain(event)),
            Event::SlowConsumer(_) => {
                self.lock().is_incomplete = true;
                if self.troubles.admits("messages that came faster than they were read") {
                    warn!("NATS: messages come faster than they are read, and are dropped");
                }
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

    /// The server refuses something. Who asks us chooses where answers go, so they can cause as many of these as they
    /// like, unless it is about the subjects that we hear.
    fn refused(&self, text: &str) {
        let text = plain(text, MAX_COMPLAINT);
        let is_about_us = self.is_own(&text);
        if is_about_us || self.troubles.admits("refusals of the server") {
            error!("{text}");
            self.status.trouble(Some(text.clone()));
        }
        let mut complaints = self.lock();
        if complaints.texts.len() < MOST_COMPLAINTS && !complaints.texts.contains(&text) {
            complaints.texts.push(text);
        }
        drop(complaints);
        if is_about_us {
            self.doubt.notify_one();
        }
    }

    /// Whether commands do not come because of it.
    fn is_own(&self, complaint: &str) -> bool {
        complaint.to_lowercase().contains("for subscription to")
            && self.own.iter().any(|subject| complaint.contains(subject))
    }

    /// What keeps commands from us.
    fn complaint(&self) -> Option<String> {
        self.lock().texts.iter().find(|text| self.is_own(text)).cloned()
    }

    /// Whether records cannot be published.
    fn refuses_events(&self, subjects: &Subjects) -> bool {
        let events = format!("\"{}", subjects.event(""));
        self.lock().texts.iter().any(|text| text.contains(&events))
    }

    /// Whether everything that we asked of the server is as we asked it, for all that is known.
    fn is_at_ease(&self) -> bool {
        let complaints = self.lock();
        complaints.texts.is_empty() && !complaints.is_incomplete
    }

    /// What was refused is asked for again, and will be refused again if it must be.
    fn forget(&self) {
        *self.lock() = Complaints::default();
        self.status.trouble(None);
    }

    fn lock(&self) -> MutexGuard<'_, Complaints> {
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
    /// Another agent with our host id was heard: when that was said last.
    doubled: Mutex<Option<Instant>>,
    /// The subscriptions are to be made again, and have been.
    wanted: Notify,
    opened: Notify,
}

impl Presence {
    /// A new instance of the agent of `host`.
    pub fn new(client: Client, subjects: Subjects, host: HostId, health: Arc<Health>) -> Presence {
        Presence {
            client,
            subjects,
            hello: Hello::new(host),
            health,
            doubled: Mutex::default(),
            wanted: Notify::new(),
            opened: Notify::new(),
        }
    }

    /// This host.
    pub fn host(&self) -> &HostId {
        self.hello.host()
    }

    /// This run of the agent, and no other.
    pub fn instance(&self) -> &str {
        self.hello.instance()
    }

    /// Resolves when all subscriptions are to be made again.
    pub async fn wants_ears(&self) {
        self.wanted.notified().await;
    }

    /// They have been.
    pub fn has_ears(&self) {
        self.opened.notify_one();
    }

    /// Proves after every connect, and now and then, that our subjects reach us, and looks for others who answer for us.
    pub async fn prove(self: Arc<Self>, ready: impl FnOnce()) {
        let mut connects = self.health.connects.subscribe();
        let mut ready = Some(ready);
        let mut failed = 0;
        if connects.wait_for(|count| *count > 0).await.is_err() {
            return;
        }
        connects.mark_changed();
        loop {
            let is_new = connects.has_changed().unwrap_or_default();
            connects.mark_unchanged();
            // The event of a connect may be here before the state.
            if is_new || self.client.connection_state() == State::Connected {
                match self.proof().await {
                    Ok(others) => {
                        if is_new || failed > 0 {
                            info!("NATS: connected, {} is heard", self.subjects.root());
                        }
                        failed = 0;
                        self.health.status.heard();
                        self.compare(&others);
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
                    // It is looked at again above.
                    Ok(()) => connects.mark_changed(),
                    Err(_) => return,
                },
                () = self.health.doubt.notified() => {}
                () = sleep(jittered(LOOK_AGAIN)) => {
                    if !self.health.is_at_ease() {
                        self.hear_again().await;
                    }
                }
            }
        }
    }

    /// Says what is wrong, and tries to make it right after a pause.
    async fn repair(&self, failed: u32, why: &anyhow::Error, connects: &mut watch::Receiver<u64>) {
        let wait = pause_after_refusal(failed);
        // Once for a trouble that lasts: the status goes on saying it.
        if failed == 1 || failed.is_multiple_of(RECONNECT_EVERY * 4) {
            warn!("NATS: {why:#}; trying again, at least every {} s", TRY_AGAIN.as_secs());
        }
        self.health.status.unheard(format_args!("{why:#}"));
        tokio::select! {
            () = sleep(wait) => {}
            _ = connects.changed() => return connects.mark_changed(),
        }
        if failed.is_multiple_of(RECONNECT_EVERY) {
            // It fails only when the client is gone, and then so are we.
            let _ = self.client.force_reconnect().await;
            // The next proof is that of the new connection, which may take its time.
            let _ = timeout(TRY_AGAIN, connects.changed()).await;
            connects.mark_changed();
        } else {
            self.hear_again().await;
        }
    }

    /// Has all subscriptions made again on the connection that we have, and asks again for what else was refused.
    async fn hear_again(&self) {
        let were_events_refused = self.health.refuses_events(&self.subjects);
        self.health.forget();
        if were_events_refused {
            // It fails only when the client is gone, and then so are we.
            let _ = self.client.publish(self.subjects.event("test"), TEST_EVENT.into()).await;
        }
        self.wanted.notify_one();
        // Without a connection nothing is sent; a later look finds that out.
        let _ = timeout(HELLO, self.opened.notified()).await;
    }

    /// Greets ourselves: the one subject that came first and last through the server shows that those in
    /// between did, too, unless it complained.
    async fn proof(&self) -> Result<Vec<Hello>> {
        let others = self.greet().await?;
        match self.health.complaint() {
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
        let mut until = Instant::now() + HELLO;
        while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
            match Hello::of(&answer.payload, self.host()) {
                Some(hello) if hello.instance() == self.instance() => {
                    heard_ourselves = true;
                    until = until.min(Instant::now() + OTHERS);
                }
                Some(hello) if others.len() < MOST_OTHERS => others.push(hello),
                // Nobody listens yet: the server's own word for it has no payload.
                _ => {}
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
        if let Some(hello) = Hello::of(payload, self.host())
            && hello.instance() != self.instance()
        {
            self.doubled(&hello);
        }
        self.hello.clone()
    }

    /// What a look at who else answers for us has found.
    fn compare(&self, others: &[Hello]) {
        if others.is_empty() {
            self.health.status.doubled(None);
        }
        for other in others {
            self.doubled(other);
        }
    }

    /// Says so, once between two looks: anybody can claim it as often as they like.
    fn doubled(&self, other: &Hello) {
        let now = Instant::now();
        // Nothing panics while holding it.
        let mut said = self.doubled.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_some_and(|said| now < said + LOOK_AGAIN / 2) {
            return;
        }
        *said = Some(now);
        drop(said);
        let text = format!(
            "another agent answers for host id {} (instance {}, version {}): give one of them another host_id",
            self.host(),
            other.instance(),
            other.version()
        );
        error!("{text}");
        self.health.status.doubled(Some(text));
    }
}

/// Somebody has to change the server's permissions: that is not done in a second.
fn pause_after_refusal(failed: u32) -> Duration {
    jittered(Duration::from_secs(1 << failed.min(6)).min(TRY_AGAIN))
}

/// From a half to the whole of it: thousands of hosts must not do the same thing in the same moment.
fn jittered(most: Duration) -> Duration {
    most.mul_f64(0.5 + 0.5 * random_fraction())
}

#[cfg(test)]
mod tests {
    use async_nats::ServerError;

    use super::*;
    use crate::daemon::metrics::Counter;

    fn health() -> (Arc<Health>, Status) {
        let status = Status::default();
        let subjects = Subjects::new("stream.v1", &"h1".parse().unwrap());
        let troubles = Throttle::new("troubles", Counter::default());
        (Health::new("nats:4222".into(), &subjects, status.clone(), troubles), status)
    }

    fn violation(what: &str, subject: &str) -> Event {
        let text = format!("Permissions Violation for {what} to \"{subject}\"");
        Event::ServerError(ServerError::Other(text))
    }

    #[test]
    fn pauses_grow_to_half_a_minute() {
        assert!((1..100).map(pause_after_refusal).all(|pause| pause <= TRY_AGAIN));
        assert!(pause_after_refusal(1) >= Duration::from_secs(1));
        assert!(pause_after_refusal(50) >= TRY_AGAIN / 2);
    }

    #[tokio::test]
    async fn a_new_connect_forgets_the_complaints_of_the_last() {
        let (health, status) = health();
        health.told(&violation("Subscription", "stream.v1.host.h1.start"));
        assert!(health.complaint().unwrap().contains("h1.start") && status.line().contains("h1.start"));
        timeout(Duration::from_secs(1), health.doubt.notified()).await.unwrap();
        health.told(&Event::Connected);
        assert!(health.complaint().is_none() && !status.line().contains("h1.start"));
        assert_eq!(*health.connects.subscribe().borrow(), 1);
    }

    #[tokio::test]
    async fn what_others_can_make_the_server_say_is_bounded_and_keeps_no_command_from_us() {
        let (health, _) = health();
        for n in 0..1000 {
            health.told(&violation("Publish", &format!("_INBOX.{n}.{}", "x".repeat(4000))));
        }
        health.told(&violation("Publish", "stream.v1.host.h1.start"));
        assert!(health.complaint().is_none() && !health.is_at_ease());
        let complaints = health.lock();
        assert!(complaints.texts.len() <= MOST_COMPLAINTS);
        assert!(complaints.texts.iter().all(|text| text.len() <= MAX_COMPLAINT));
    }
}
