//! The agent's side of NATS: its subjects as a micro service, and records for the audit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::Client;
use async_nats::service::{Request, ServiceExt};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;

use crate::daemon::audit::Record;
use crate::daemon::nats::Heard;
use crate::link::backoff::random_fraction;
use crate::protocol::command::Subjects;

use super::Agent;
use super::presence::{Health, Presence};
use super::status::Status;

/// Name of the micro service, as `nats micro ls` shows it.
const SERVICE: &str = "stream-agent";

/// Start commands that may be under way at once: a dial may take its time.
const UNDER_WAY: usize = 64;

/// The connected agent.
pub struct Bus {
    client: Client,
    subjects: Subjects,
    presence: Arc<Presence>,
}

impl Bus {
    /// Connects, and goes on trying in the background for as long as it takes.
    ///
    /// # Errors
    /// When the settings cannot be used at all, such as a missing credentials file.
    pub async fn connect(agent: &Agent, status: Status) -> Result<Bus> {
        let settings = agent.settings();
        let subjects = Subjects::new(&settings.prefix, &settings.host);
        let health = Health::new(settings.nats.describe(), status);
        let name = format!("{SERVICE} {}", settings.host);
        let inbox = format!("{}.inbox", subjects.root());
        let told = health.clone();
        let client = settings.nats.connect(&name, Some(inbox), pause, move |event| told.told(&event)).await?;
        let presence =
            Arc::new(Presence::new(client.clone(), subjects.clone(), settings.host.clone(), health));
        Ok(Bus { client, subjects, presence })
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
        let metadata = HashMap::from([("host".to_owned(), self.presence.host().to_string())]);
        let service = self
            .client
            .service_builder()
            .description("Opens allowed targets of this host")
            .metadata(metadata)
            // A group of its own: two agents with one host id must both hear, and so notice each other.
            .queue_group(format!("{SERVICE}-{}", self.presence.instance()))
            .start(SERVICE, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(|error| anyhow::anyhow!("register the micro service: {error}"))?;
        let mut endpoints = Vec::new();
        for (name, subject) in [
            (Name::Start, self.subjects.start()),
            (Name::Stop, self.subjects.stop()),
            (Name::Targets, self.subjects.targets()),
            (Name::Hello, self.subjects.hello()),
        ] {
            let added = service.endpoint_builder().name(name.as_str()).add(subject).await;
            let endpoint = added.map_err(|error| anyhow::anyhow!("register {}: {error}", name.as_str()))?;
            endpoints.push(endpoint.map(move |request| (name, request)).boxed());
        }
        let mut requests = futures_util::stream::select_all(endpoints);
        let presence = self.presence.clone();
        let publishing = tokio::spawn(self.publish(records));
        let proving = tokio::spawn(presence.clone().prove(ready));
        let places = Arc::new(Semaphore::new(UNDER_WAY));
        loop {
            let next = tokio::select! {
                next = requests.next() => next,
                () = agent.stopping.cancelled() => None,
            };
            let Some((name, request)) = next else { break };
            let (agent, presence) = (agent.clone(), presence.clone());
            let place = places.clone();
            tokio::spawn(async move {
                let payload = &request.message.payload;
                let answer = match name {
                    // Only a start takes its time: all else is answered however many dials hang.
                    Name::Start => match place.try_acquire_owned() {
                        Ok(_place) => json(&agent.start(payload).await),
                        Err(_) => json(&agent.busy(UNDER_WAY)),
                    },
                    Name::Stop => json(&agent.stop(payload)),
                    Name::Targets => json(&agent.targets()),
                    Name::Hello => json(&presence.hear(payload)),
                };
                reply(&request, answer).await;
            });
        }
        proving.abort();
        // A platform that asks now hears at once that nobody is there.
        drop(requests);
        if let Err(error) = service.stop().await {
            warn!("NATS: the micro service did not stop: {error}");
        }
        drop(agent);
        // Streams that drain still make records. They end when nobody holds the agent any more.
        publishing.await.context("publish records")
    }

    /// Publishes records for the audit, until nobody makes any.
    async fn publish(self, mut records: mpsc::Receiver<Record>) {
        while let Some(record) = records.recv().await {
            let subject = self.subjects.event(record.event.label());
            if let Err(error) = self.client.publish(subject, json(&record).into()).await {
                warn!("NATS: a record could not be published: {error}");
            }
        }
        if let Err(error) = self.client.flush().await {
            warn!("NATS: not every record could be published: {error}");
        }
    }
}

#[derive(Clone, Copy)]
enum Name {
    Start,
    Stop,
    Targets,
    Hello,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Name::Start => "start",
            Name::Stop => "stop",
            Name::Targets => "targets",
            Name::Hello => "hello",
        }
    }
}

/// A platform that only publishes wants no answer.
async fn reply(request: &Request, answer: Vec<u8>) {
    if request.message.reply.is_none() {
        return;
    }
    if let Err(error) = request.respond(Ok(answer.into())).await {
        warn!("NATS: an answer could not be sent: {error}");
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // All of these are strings, numbers and lists of them, which always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Doubled with every try, and jittered: thousands of hosts must not come back in the same moment.
fn pause(tries: usize) -> Duration {
    let most = Duration::from_millis(100 << tries.min(7));
    most.mul_f64(0.2 + 0.8 * random_fraction())
}
