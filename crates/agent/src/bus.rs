//! The agent's side of NATS: its subjects as a micro service, and records for the audit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::Client;
use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use protocol::audit::{Context, Event, Record};
use protocol::close::MAX_REASON;
use protocol::command::Subjects;
use protocol::end::Outcome;
use protocol::plain::plain;
use service::counted::Counted;
use service::metrics::Counter;
use service::nats::ReadMonitor;
use service::throttle::{Rate, Throttle};

use super::Agent;
use super::calls::{Dispatcher, Subscriptions, json};
use super::health::Health;
use super::micro::SERVICE;
use super::registration::Registration;
use super::status::Status;

/// Log lines about one kind of trouble that every NATS client can cause: the first, then one in ten minutes. A summary
/// counts the others.
const TROUBLES: Rate = Rate { burst: 1, every: Duration::from_secs(600) };

/// How long the last records may take to leave.
const LAST_RECORDS: Duration = Duration::from_secs(4);

/// The agent's connection to NATS; it reconnects by itself.
pub struct Bus {
    client: Client,
    subjects: Subjects,
    registration: Arc<Registration>,
    /// Limits the log lines about troubles that every NATS client can cause.
    troubles: Throttle<&'static str>,
}

impl Bus {
    /// Begins to connect, and keeps trying in the background.
    ///
    /// # Errors
    /// When the settings cannot be used at all, such as a missing credentials file.
    pub async fn connect(agent: &Agent, status: Status) -> Result<Bus> {
        let settings = agent.state.settings();
        let subjects = Subjects::new(&settings.prefix, &settings.host);
        let troubles = Throttle::with_rate("troubles with NATS", TROUBLES, Counter::default());
        let health = Health::new(settings.nats.describe(), &subjects, status, troubles.clone());
        let name = format!("{SERVICE} {}", settings.host);
        let inbox = subjects.inbox();
        let events = health.clone();
        let client = settings.nats.connect(&name, Some(inbox), move |event| events.on_event(&event)).await?;
        let registration =
            Arc::new(Registration::new(client.clone(), subjects.clone(), settings.host.clone(), health));
        Ok(Bus { client, subjects, registration, troubles })
    }

    /// Whether the connection does its part.
    pub fn read_monitor(&self) -> ReadMonitor {
        ReadMonitor::new(self.client.clone())
    }

    /// Takes commands and publishes records until the agent stops. `ready` is called once, when the
    /// subscriptions are proven for the first time.
    ///
    /// # Errors
    /// When the service cannot be registered.
    pub async fn serve(
        self,
        agent: Arc<Agent>,
        records: mpsc::Receiver<Record>,
        ready: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        let (id, host) = (self.registration.instance(), self.registration.host());
        let subscriptions = Subscriptions::new(&self.subjects, id);
        let micro = subscriptions.micro(id, host.as_str());
        let (client, registration) = (self.client.clone(), self.registration.clone());
        let dispatcher = Dispatcher::new(
            agent.clone(),
            registration.clone(),
            micro,
            client.clone(),
            self.subjects.clone(),
            self.troubles.clone(),
        );
        let mut calls = subscriptions.open(&client).await?;
        let publishing = tokio::spawn(self.publish(records));
        let proving = tokio::spawn(registration.clone().prove(ready));
        loop {
            tokio::select! {
                call = calls.next() => match call {
                    Some((call, message)) => dispatcher.take(call, message),
                    None => break,
                },
                // A subscription that was lost with a permission does not come back with it. The old ones go when the
                // new ones are there.
                () = registration.subscriptions_wanted() => tokio::select! {
                    opened = subscriptions.open(&client) => {
                        calls = opened?;
                        registration.has_subscribed();
                    }
                    () = agent.state.stopping.cancelled() => break,
                },
                () = agent.state.stopping.cancelled() => break,
            }
        }
        proving.abort();
        registration.gone().await;
        // From now on the server itself answers a platform: there is no responder.
        drop(calls);
        drop((dispatcher, agent));
        // Streams that drain still make records. The channel closes when the last of them drops the agent.
        publishing.await.context("publish records")
    }

    /// Publishes records until the agent is dropped.
    async fn publish(self, mut records: mpsc::Receiver<Record>) {
        let mut waiting = Waiting::default();
        while let Some(record) = records.recv().await {
            waiting.one_more(&self.client);
            let subject = self.subjects.event(record.event.label());
            let mut published = self.client.publish(subject.clone(), json(&record).into()).await;
            if published.as_ref().is_err_and(|error| error.kind() == PublishErrorKind::MaxPayloadExceeded) {
                // A shortened record is better than none.
                published = self.client.publish(subject, json(&shortened(record)).into()).await;
            }
            if let Err(error) = published {
                warn!("NATS: a record could not be published: {error}");
            }
        }
        let count = waiting.count(&self.client);
        if self.client.connection_state() != State::Connected && count == 0 {
            return;
        }
        let flushed = timeout(LAST_RECORDS, self.client.flush()).await;
        match (flushed, count) {
            (Ok(Ok(())), _) => {}
            (_, 0) => warn!("NATS: the last records may not have been published; the log has them"),
            (_, count) => {
                let records = Counted(count, "record");
                warn!("NATS is away: {records} could not be published; the log has them");
            }
        }
    }
}

/// Counts the records that were published while NATS was away and are not sent yet.
#[derive(Default)]
struct Waiting {
    count: u64,
    /// Number of connects when the last record was counted.
    connects: u64,
}

impl Waiting {
    fn one_more(&mut self, client: &Client) {
        let count = self.count(client);
        let is_away = client.connection_state() != State::Connected;
        *self = Waiting { count: if is_away { count + 1 } else { 0 }, connects: connects(client) };
    }

    fn count(&self, client: &Client) -> u64 {
        // The library sends what waits as soon as it connects.
        if connects(client) == self.connects { self.count } else { 0 }
    }
}

fn connects(client: &Client) -> u64 {
    client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
}

/// The record without its parameters, and with all texts cut: it is in the log as it was.
fn shortened(Record { at, context, mut event }: Record) -> Record {
    let cut = |text: &str| plain(text, MAX_REASON);
    let context = Context {
        params: Default::default(),
        target: context.target.as_deref().map(cut),
        user: context.user.as_deref().map(cut),
        ..context
    };
    if let Event::Ended { outcome: Outcome { closing, .. }, .. } | Event::Refused(closing) = &mut event {
        closing.reason = cut(&closing.reason).into();
    }
    Record { at, context, event }
}
