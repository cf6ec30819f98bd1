//! The agent's side of NATS: its subjects as a micro service, and records for the audit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::Client;
use async_nats::client::PublishErrorKind;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tracing::warn;

use crate::daemon::audit::Record;
use crate::daemon::metrics::Counter;
use crate::daemon::nats::Heard;
use crate::daemon::throttle::{Rate, Throttle};
use crate::link::backoff::random_fraction;
use crate::protocol::close::MAX_REASON;
use crate::protocol::command::Subjects;
use crate::protocol::plain::plain;

use super::Agent;
use super::calls::{Desk, Ears, json};
use super::micro::SERVICE;
use super::presence::{Health, Presence};
use super::status::Status;

/// Lines about one kind of trouble that everybody on the bus can cause: the first, then one in ten minutes. A summary
/// counts the others.
const TROUBLES: Rate = Rate { burst: 1, every: Duration::from_secs(600) };

/// The connected agent.
pub struct Bus {
    client: Client,
    subjects: Subjects,
    presence: Arc<Presence>,
    /// What is logged of troubles that everybody on the bus can cause.
    troubles: Throttle<&'static str>,
}

impl Bus {
    /// Connects, and goes on trying in the background for as long as it takes.
    ///
    /// # Errors
    /// When the settings cannot be used at all, such as a missing credentials file.
    pub async fn connect(agent: &Agent, status: Status) -> Result<Bus> {
        let settings = agent.settings();
        let subjects = Subjects::new(&settings.prefix, &settings.host);
        let troubles = Throttle::with_rate("troubles with NATS", TROUBLES, Counter::default());
        let health = Health::new(settings.nats.describe(), &subjects, status, troubles.clone());
        let name = format!("{SERVICE} {}", settings.host);
        let inbox = subjects.inbox();
        let told = health.clone();
        let client = settings.nats.connect(&name, Some(inbox), pause, move |event| told.told(&event)).await?;
        let presence =
            Arc::new(Presence::new(client.clone(), subjects.clone(), settings.host.clone(), health));
        Ok(Bus { client, subjects, presence, troubles })
    }

    /// Whether the connection does its part.
    pub fn heard(&self) -> Heard {
        Heard::of(self.client.clone())
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
        let (id, host) = (self.presence.instance(), self.presence.host());
        let ears = Ears::new(&self.subjects, id);
        let micro = ears.micro(id, host.as_str());
        let (client, presence) = (self.client.clone(), self.presence.clone());
        let desk = Desk::new(
            agent.clone(),
            presence.clone(),
            micro,
            client.clone(),
            self.subjects.clone(),
            self.troubles.clone(),
        );
        let mut calls = ears.open(&client).await?;
        let publishing = tokio::spawn(self.publish(records));
        let proving = tokio::spawn(presence.clone().prove(ready));
        loop {
            tokio::select! {
                call = calls.next() => match call {
                    Some((call, message)) => desk.take(call, message),
                    None => break,
                },
                // A subscription that was lost with a permission does not come back with it. The old ones go when the
                // new ones are there.
                () = presence.wants_ears() => tokio::select! {
                    opened = ears.open(&client) => {
                        calls = opened?;
                        presence.has_ears();
                    }
                    () = agent.stopping.cancelled() => break,
                },
                () = agent.stopping.cancelled() => break,
            }
        }
        proving.abort();
        // A platform that asks now hears at once that nobody is there.
        drop(calls);
        drop((desk, agent));
        // Streams that drain still make records. They end when nobody holds the agent any more.
        publishing.await.context("publish records")
    }

    /// Publishes records for the audit, until nobody makes any.
    async fn publish(self, mut records: mpsc::Receiver<Record>) {
        while let Some(record) = records.recv().await {
            let subject = self.subjects.event(record.event.label());
            let mut published = self.client.publish(subject.clone(), json(&record).into()).await;
            if published.as_ref().is_err_and(|error| error.kind() == PublishErrorKind::MaxPayloadExceeded) {
                // That it happened is worth more than every word of it.
                published = self.client.publish(subject, json(&shortened(record)).into()).await;
            }
            if let Err(error) = published {
                warn!("NATS: a record could not be published: {error}");
            }
        }
        if let Err(error) = self.client.flush().await {
            warn!("NATS: not every record could be published: {error}");
        }
    }
}

/// The record without its parameters, and with all texts cut: it is in the log as it was.
fn shortened(record: Record) -> Record {
    let cut = |text: Option<String>| text.map(|text| plain(&text, MAX_REASON));
    Record {
        params: Default::default(),
        target: cut(record.target),
        user: cut(record.user),
        reason: cut(record.reason),
        ..record
    }
}

/// Doubled with every try, and jittered: thousands of hosts must not come back in the same moment.
fn pause(tries: usize) -> Duration {
    let most = Duration::from_millis(100 << tries.min(7));
    most.mul_f64(0.2 + 0.8 * random_fraction())
}
