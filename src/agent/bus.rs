//! The agent's side of NATS: its subjects as a micro service, and records for the audit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::Client;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;

use crate::daemon::audit::Record;
use crate::daemon::nats::Heard;
use crate::link::backoff::random_fraction;
use crate::protocol::command::Subjects;

use super::Agent;
use super::micro::{Micro, SERVICE, Verb};
use super::presence::{Health, Presence};
use super::status::Status;

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
        // A group of its own: two agents with one host id must both hear, and so notice each other.
        let group = format!("{SERVICE}-{}", self.presence.instance());
        let endpoints = [
            (Call::Start, self.subjects.start()),
            (Call::Stop, self.subjects.stop()),
            (Call::Targets, self.subjects.targets()),
            (Call::Hello, self.subjects.hello()),
        ];
        let named: Vec<_> = endpoints.iter().map(|(call, subject)| (call.name(), subject.clone())).collect();
        let micro =
            Arc::new(Micro::new(self.presence.instance(), self.presence.host().as_str(), &group, &named));
        let mut calls = Vec::new();
        for (verb, subject) in Verb::subjects(self.presence.instance()) {
            let heard = self.client.subscribe(subject).await.context("register the micro service")?;
            calls.push(heard.map(move |message| (Call::Ask(verb), message)).boxed());
        }
        for (call, subject) in endpoints {
            let heard = self.client.queue_subscribe(subject, group.clone()).await;
            let heard = heard.with_context(|| format!("register {}", call.name()))?;
            calls.push(heard.map(move |message| (call, message)).boxed());
        }
        let mut calls = futures_util::stream::select_all(calls);
        let (client, presence) = (self.client.clone(), self.presence.clone());
        let publishing = tokio::spawn(self.publish(records));
        let proving = tokio::spawn(presence.clone().prove(ready));
        let places = Arc::new(Semaphore::new(UNDER_WAY));
        loop {
            let next = tokio::select! {
                next = calls.next() => next,
                () = agent.stopping.cancelled() => None,
            };
            let Some((call, message)) = next else { break };
            let (agent, presence, micro) = (agent.clone(), presence.clone(), micro.clone());
            let (client, place, begun) = (client.clone(), places.clone(), Instant::now());
            tokio::spawn(async move {
                let payload = &message.payload;
                let answer = match call {
                    // Only a start takes its time: all else is answered however many dials hang.
                    Call::Start => match place.try_acquire_owned() {
                        Ok(_place) => json(&agent.start(payload).await),
                        Err(_) => json(&agent.busy(UNDER_WAY)),
                    },
                    Call::Stop => json(&agent.stop(payload)),
                    Call::Targets => json(&agent.targets()),
                    Call::Hello => json(&presence.hear(payload)),
                    Call::Ask(verb) => json(&micro.answer(verb)),
                };
                // A platform that only publishes wants no answer.
                let Some(reply) = message.reply else { return };
                if let Err(error) = client.publish(reply, answer.into()).await {
                    warn!("NATS: an answer could not be sent: {error}");
                }
                micro.answered(call.name(), begun.elapsed());
            });
        }
        proving.abort();
        // A platform that asks now hears at once that nobody is there.
        drop(calls);
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

/// What somebody wants of us.
#[derive(Clone, Copy)]
enum Call {
    Start,
    Stop,
    Targets,
    Hello,
    Ask(Verb),
}

impl Call {
    /// The name of the endpoint; the questions that every service is asked are none.
    const fn name(self) -> &'static str {
        match self {
            Call::Start => "start",
            Call::Stop => "stop",
            Call::Targets => "targets",
            Call::Hello => "hello",
            Call::Ask(_) => "",
        }
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
