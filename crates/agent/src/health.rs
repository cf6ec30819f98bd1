//! The state of the connection to NATS, from its events: connects, and what the server refuses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::Event;
use tokio::sync::{Notify, watch};
use tracing::{debug, error, warn};

use protocol::command::Subjects;
use protocol::plain::plain;
use service::nats::explain;
use service::throttle::Throttle;

use super::status::Status;

/// The longest kept text of the server, in bytes.
const MAX_COMPLAINT: usize = 300;

/// Most refusals of the server that are kept until the next proof.
const MOST_COMPLAINTS: usize = 16;

/// Follows the events of one connection, and keeps the status up to date.
pub(crate) struct Health {
    servers: String,
    /// The subjects of commands, quoted as in the server's complaints.
    own: Vec<String>,
    status: Status,
    /// Number of connects; each needs a proof.
    connects: watch::Sender<u64>,
    complaints: Mutex<Complaints>,
    /// A subscription may be lost.
    doubt: Notify,
    troubles: Throttle<&'static str>,
}

/// What the server has refused since the subscriptions were made.
#[derive(Default)]
struct Complaints {
    texts: Vec<String>,
    /// Events were dropped, so there may be other complaints.
    is_incomplete: bool,
}

impl Health {
    pub(crate) fn new(
        servers: String,
        subjects: &Subjects,
        status: Status,
        troubles: Throttle<&'static str>,
    ) -> Arc<Health> {
        status.not_receiving(format_args!("connecting to NATS at {servers}"));
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

    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// The number of connects so far.
    pub(crate) fn connects(&self) -> watch::Receiver<u64> {
        self.connects.subscribe()
    }

    /// Resolves when a subscription may be lost.
    pub(crate) async fn doubt(&self) {
        self.doubt.notified().await;
    }

    pub(crate) fn on_event(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.forget();
                self.connects.send_modify(|count| *count += 1);
            }
            Event::Disconnected => {
                warn!("NATS: disconnected from {}; open streams go on", self.servers);
                self.status.not_receiving("NATS disconnected, trying again");
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
            // The agent does both at its end.
            Event::Draining | Event::Closed => debug!("{}", explain(event)),
            other => warn!("{}", explain(other)),
        }
    }

    /// The server refuses something. A NATS client chooses the reply subject, so it can cause any number of refusals,
    /// except of our own subscriptions.
    fn refused(&self, text: &str) {
        let text = plain(text, MAX_COMPLAINT);
        let is_own = self.is_own(&text);
        if is_own || self.troubles.admits("refusals of the server") {
            error!("{text}");
            self.status.trouble(Some(text.clone()));
        }
        let mut complaints = self.lock();
        if complaints.texts.len() < MOST_COMPLAINTS && !complaints.texts.contains(&text) {
            complaints.texts.push(text);
        }
        drop(complaints);
        if is_own {
            self.doubt.notify_one();
        }
    }

    /// Whether the complaint is about a subject of commands.
    fn is_own(&self, complaint: &str) -> bool {
        complaint.to_lowercase().contains("for subscription to")
            && self.own.iter().any(|subject| complaint.contains(subject))
    }

    /// The complaint that keeps commands away.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.lock().texts.iter().find(|text| self.is_own(text)).cloned()
    }

    /// Whether records cannot be published.
    pub(crate) fn refuses_events(&self, subjects: &Subjects) -> bool {
        let events = format!("\"{}", subjects.event(""));
        self.lock().texts.iter().any(|text| text.contains(&events))
    }

    /// Whether the server has refused nothing, as far as is known.
    pub(crate) fn has_no_complaint(&self) -> bool {
        let complaints = self.lock();
        complaints.texts.is_empty() && !complaints.is_incomplete
    }

    /// Forgets the complaints: what was refused is tried again.
    pub(crate) fn forget(&self) {
        *self.lock() = Complaints::default();
        self.status.trouble(None);
    }

    fn lock(&self) -> MutexGuard<'_, Complaints> {
        // Nothing panics while holding it.
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::ServerError;
    use service::metrics::Counter;
    use tokio::time::timeout;

    use super::*;

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

    #[tokio::test]
    async fn a_new_connect_forgets_the_complaints_of_the_last() {
        let (health, status) = health();
        health.on_event(&violation("Subscription", "stream.v1.host.h1.start"));
        assert!(health.complaint().unwrap().contains("h1.start") && status.line().contains("h1.start"));
        timeout(Duration::from_secs(1), health.doubt()).await.unwrap();
        health.on_event(&Event::Connected);
        assert!(health.complaint().is_none() && !status.line().contains("h1.start"));
        assert_eq!(*health.connects().borrow(), 1);
    }

    #[tokio::test]
    async fn what_others_can_make_the_server_say_is_bounded_and_keeps_no_command_from_us() {
        let (health, _) = health();
        for n in 0..1000 {
            health.on_event(&violation("Publish", &format!("_INBOX.{n}.{}", "x".repeat(4000))));
        }
        health.on_event(&violation("Publish", "stream.v1.host.h1.start"));
        assert!(health.complaint().is_none() && !health.has_no_complaint());
        let complaints = health.lock();
        assert!(complaints.texts.len() <= MOST_COMPLAINTS);
        assert!(complaints.texts.iter().all(|text| text.len() <= MAX_COMPLAINT));
    }
}
