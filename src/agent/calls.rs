//! What comes in over NATS: bounded all together, since everybody on the bus may ask, many at once and all hosts at once.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_nats::{Client, Message};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, select_all};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::debug;

use crate::daemon::throttle::Throttle;
use crate::protocol::command::{MAX_QUESTION, Subjects};

use super::Agent;
use super::micro::{Micro, SERVICE, Verb};
use super::order::Receipt;
use super::presence::Presence;

/// Start commands that may be under way at once: a dial may take its time.
const UNDER_WAY: usize = 64;

/// Answers to everything else that may be on their way at once. What comes on top of them is dropped.
const ANSWERS: usize = 128;

/// What somebody wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Open a target.
    Start,
    /// End a session.
    Stop,
    /// Say what may be opened.
    Targets,
    /// Say who answers for this host.
    Hello,
    /// Say what every micro service says.
    Ask(Verb),
}

impl Call {
    /// The name of the endpoint; the questions that every service is asked are none.
    pub const fn name(self) -> &'static str {
        match self {
            Call::Start => "start",
            Call::Stop => "stop",
            Call::Targets => "targets",
            Call::Hello => "hello",
            Call::Ask(_) => "",
        }
    }

    /// Whether a call of so many bytes gets no answer. Commands that are too large get one that says so.
    const fn is_too_large(self, bytes: usize) -> bool {
        match self {
            Call::Start | Call::Stop => false,
            Call::Targets | Call::Hello | Call::Ask(_) => bytes > MAX_QUESTION,
        }
    }
}

/// The subjects that this agent hears.
pub struct Ears {
    /// One for each run of the agent: two agents with one host id must both hear, and so notice each other.
    group: String,
    commands: Vec<(Call, String)>,
    questions: Vec<(Call, String)>,
}

impl Ears {
    /// Those of the instance `id`.
    pub fn new(subjects: &Subjects, id: &str) -> Ears {
        Ears {
            group: format!("{SERVICE}-{id}"),
            commands: vec![
                (Call::Start, subjects.start()),
                (Call::Stop, subjects.stop()),
                (Call::Targets, subjects.targets()),
                (Call::Hello, subjects.hello()),
            ],
            questions: Verb::subjects(id).map(|(verb, subject)| (Call::Ask(verb), subject)).collect(),
        }
    }

    /// As a micro service shows itself.
    pub fn micro(&self, id: &str, host: &str) -> Micro {
        let named: Vec<_> =
            self.commands.iter().map(|(call, subject)| (call.name(), subject.clone())).collect();
        Micro::new(id, host, &self.group, &named)
    }

    /// Subscribes to all of them.
    ///
    /// # Errors
    /// When the connection is gone for good.
    pub async fn open(&self, client: &Client) -> Result<SelectAll<BoxStream<'static, (Call, Message)>>> {
        let mut calls = Vec::new();
        for (call, subject) in &self.questions {
            let call = *call;
            let heard = client.subscribe(subject.clone()).await.context("register the micro service")?;
            calls.push(heard.map(move |message| (call, message)).boxed());
        }
        for (call, subject) in &self.commands {
            let call = *call;
            let heard = client.queue_subscribe(subject.clone(), self.group.clone()).await;
            let heard = heard.with_context(|| format!("register {}", call.name()))?;
            calls.push(heard.map(move |message| (call, message)).boxed());
        }
        Ok(select_all(calls))
    }
}

/// Answers calls, as many at once as there are places.
pub struct Desk {
    agent: Arc<Agent>,
    presence: Arc<Presence>,
    micro: Arc<Micro>,
    client: Client,
    subjects: Subjects,
    /// What is logged of calls that get no answer.
    dropped: Throttle<&'static str>,
    starts: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Desk {
    /// Nothing is under way.
    pub fn new(
        agent: Arc<Agent>,
        presence: Arc<Presence>,
        micro: Micro,
        client: Client,
        subjects: Subjects,
        dropped: Throttle<&'static str>,
    ) -> Desk {
        Desk {
            agent,
            presence,
            micro: Arc::new(micro),
            client,
            subjects,
            dropped,
            starts: Arc::new(Semaphore::new(UNDER_WAY)),
            answers: Arc::new(Semaphore::new(ANSWERS)),
        }
    }

    /// Takes a call, without waiting for anything: those behind it would pile up.
    pub fn take(&self, call: Call, message: Message) {
        let begun = Instant::now();
        let Message { reply, payload, .. } = message;
        if let Some(reply) = &reply
            && !self.agent.settings().inboxes.hold(reply, &self.subjects)
        {
            return self.drop("calls whose reply subject is not below `inboxes`");
        }
        if call.is_too_large(payload.len()) {
            return self.drop("calls that are too large");
        }
        let start = match call {
            Call::Start => self.starts.clone().try_acquire_owned().ok(),
            _ => None,
        };
        let is_busy = call == Call::Start && start.is_none();
        // A start that is carried out has a place of its own, so that dials never keep a `stop` waiting.
        let place = match start {
            Some(place) => Ok(place),
            None => self.answers.clone().try_acquire_owned(),
        };
        let Ok(place) = place else { return self.drop("calls that came faster than they were answered") };
        let (agent, presence) = (self.agent.clone(), self.presence.clone());
        let (client, micro) = (self.client.clone(), self.micro.clone());
        let receipt = Receipt { at: begun, is_awaited: reply.is_some() };
        tokio::spawn(async move {
            let answer = match call {
                Call::Start if is_busy => json(&agent.busy(UNDER_WAY)),
                Call::Start => json(&agent.start(payload, receipt).await),
                Call::Stop => json(&agent.stop(&payload)),
                Call::Targets => json(&agent.targets()),
                Call::Hello => json(&presence.hear(&payload)),
                Call::Ask(verb) => json(&micro.answer(verb)),
            };
            // A platform that only publishes wants no answer.
            let Some(reply) = reply else { return };
            if let Err(error) = client.publish(reply, answer.into()).await {
                debug!("NATS: an answer could not be sent: {error}");
            }
            micro.answered(call.name(), begun.elapsed());
            drop(place);
        });
    }

    /// Says so once a burst; the rest is counted.
    fn drop(&self, what: &'static str) {
        if self.dropped.admits(what) {
            tracing::warn!("NATS: {what} are dropped");
        }
    }
}

/// What is sent.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    // All of these are strings, numbers and lists of them, which always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}
