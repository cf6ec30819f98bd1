//! Requests that come over NATS, and how many are answered at once: every client of the server may send them, to all
//! hosts at once.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_nats::{Client, Message};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, select_all};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::debug;

use protocol::command::{MAX_QUESTION, Subjects};
use service::throttle::Throttle;

use super::Agent;
use super::micro::{Micro, SERVICE, Verb};
use super::registration::Registration;
use super::verify::Receipt;

/// Start commands that may be under way at once; each dials a relay.
const UNDER_WAY: usize = 64;

/// Other requests that may be under way at once. Those above it are dropped.
const ANSWERS: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Start,
    Stop,
    Targets,
    /// Which agents answer for this host?
    Hello,
    /// A question that every micro service answers.
    Ask(Verb),
}

impl Call {
    /// The name of the endpoint. The questions of the micro protocol are no endpoints.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Call::Start => "start",
            Call::Stop => "stop",
            Call::Targets => "targets",
            Call::Hello => "hello",
            Call::Ask(_) => "",
        }
    }

    /// Whether a request of so many bytes gets no answer. A command that is too large gets a refusal.
    const fn is_too_large(self, bytes: usize) -> bool {
        match self {
            Call::Start | Call::Stop => false,
            Call::Targets | Call::Hello | Call::Ask(_) => bytes > MAX_QUESTION,
        }
    }
}

/// The subjects that this agent subscribes to.
pub(crate) struct Subscriptions {
    /// Differs with each run of the agent: two agents with one host id must both get every message, and so notice each
    /// other.
    group: String,
    commands: Vec<(Call, String)>,
    questions: Vec<(Call, String)>,
}

impl Subscriptions {
    /// The subjects of the instance `id`.
    pub(crate) fn new(subjects: &Subjects, id: &str) -> Subscriptions {
        Subscriptions {
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

    /// The micro service that lists these subjects.
    pub(crate) fn micro(&self, id: &str, host: &str) -> Micro {
        let named: Vec<_> =
            self.commands.iter().map(|(call, subject)| (call.name(), subject.clone())).collect();
        Micro::new(id, host, &self.group, &named)
    }

    /// Subscribes to all subjects.
    ///
    /// # Errors
    /// When the connection is gone for good.
    pub(crate) async fn open(
        &self,
        client: &Client,
    ) -> Result<SelectAll<BoxStream<'static, (Call, Message)>>> {
        let mut calls = Vec::new();
        for (call, subject) in &self.questions {
            let call = *call;
            let messages = client.subscribe(subject.clone()).await.context("register the micro service")?;
            calls.push(messages.map(move |message| (call, message)).boxed());
        }
        for (call, subject) in &self.commands {
            let call = *call;
            let messages = client.queue_subscribe(subject.clone(), self.group.clone()).await;
            let messages = messages.with_context(|| format!("register {}", call.name()))?;
            calls.push(messages.map(move |message| (call, message)).boxed());
        }
        Ok(select_all(calls))
    }
}

/// Answers requests, a limited number at once.
pub(crate) struct Dispatcher {
    agent: Arc<Agent>,
    registration: Arc<Registration>,
    micro: Arc<Micro>,
    client: Client,
    subjects: Subjects,
    /// Limits the log lines about dropped requests.
    dropped: Throttle<&'static str>,
    starts: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Dispatcher {
    pub(crate) fn new(
        agent: Arc<Agent>,
        registration: Arc<Registration>,
        micro: Micro,
        client: Client,
        subjects: Subjects,
        dropped: Throttle<&'static str>,
    ) -> Dispatcher {
        Dispatcher {
            agent,
            registration,
            micro: Arc::new(micro),
            client,
            subjects,
            dropped,
            starts: Arc::new(Semaphore::new(UNDER_WAY)),
            answers: Arc::new(Semaphore::new(ANSWERS)),
        }
    }

    /// Starts to answer a request. Never waits: those behind it would pile up.
    pub(crate) fn take(&self, call: Call, message: Message) {
        let begun = Instant::now();
        let Message { reply, payload, .. } = message;
        if let Some(reply) = &reply
            && !self.agent.state.settings().inboxes.hold(reply, &self.subjects)
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
        // Starts are counted apart, so that dials never delay a `stop`.
        let place = match start {
            Some(place) => Ok(place),
            None => self.answers.clone().try_acquire_owned(),
        };
        let Ok(place) = place else { return self.drop("calls that came faster than they were answered") };
        let (agent, registration) = (self.agent.clone(), self.registration.clone());
        let (client, micro) = (self.client.clone(), self.micro.clone());
        let receipt = Receipt { at: begun, is_awaited: reply.is_some() };
        tokio::spawn(async move {
            let answer = match call {
                Call::Start if is_busy => json(&agent.busy(UNDER_WAY)),
                Call::Start => json(&agent.start(payload, receipt).await),
                Call::Stop => json(&agent.stop(&payload)),
                Call::Targets => json(&agent.targets()),
                Call::Hello => json(&registration.answer_hello(&payload)),
                Call::Ask(verb) => json(&micro.answer(verb)),
            };
            // A platform that only publishes expects no answer.
            let Some(reply) = reply else { return };
            if let Err(error) = client.publish(reply, answer.into()).await {
                debug!("NATS: an answer could not be sent: {error}");
            }
            micro.answered(call.name(), begun.elapsed());
            drop(place);
        });
    }

    /// Logs it once per burst; the rest is counted.
    fn drop(&self, what: &'static str) {
        if self.dropped.admits(what) {
            tracing::warn!("NATS: {what} are dropped");
        }
    }
}

pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    // All of these are strings, numbers and lists of them, which always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}
