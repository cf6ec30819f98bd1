//! The agent's side of NATS: its subjects as a micro service, the proof that they are heard, and events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::service::{Request, ServiceExt};
use async_nats::{Client, Event};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::daemon::audit::Record;
use crate::daemon::nats::explain;
use crate::link::backoff::random_fraction;
use crate::protocol::command::{Answer, Code, Refusal, Subjects, VERSION};
use crate::protocol::host::HostId;

use super::Agent;
use super::status::Status;

/// Name of the micro service, as `nats micro ls` shows it.
const SERVICE: &str = "stream-agent";

/// Commands that may be under way at once: a dial may take its time.
const UNDER_WAY: usize = 64;

/// How long the answer to our own hello may take.
const HELLO: Duration = Duration::from_secs(3);

/// How long others may take to answer our hello.
const OTHERS: Duration = Duration::from_millis(300);

/// What agents tell each other: who answers for this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    v: u64,
    host: HostId,
    instance: String,
    version: String,
}

/// The connected agent.
pub struct Bus {
    client: Client,
    subjects: Subjects,
    hello: Hello,
    status: Status,
    /// Counts connects: each must be proven anew.
    connects: watch::Receiver<u64>,
}

impl Bus {
    /// Connects, and goes on trying in the background for as long as it takes.
    ///
    /// # Errors
    /// When the settings cannot be used at all, such as a missing credentials file.
    pub async fn connect(agent: &Agent, status: Status) -> Result<Bus> {
        let settings = agent.settings();
        let subjects = Subjects::new(&settings.prefix, &settings.host);
        let hello = Hello {
            v: VERSION,
            host: settings.host.clone(),
            instance: ulid::Ulid::generate().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let (connected, connects) = watch::channel(0);
        let (servers, told_status) = (settings.nats.describe(), status.clone());
        status.nats(format!("connecting to NATS at {servers}"));
        let told = move |event: Event| match &event {
            Event::Connected => connected.send_modify(|count| *count += 1),
            Event::Disconnected => {
                warn!("NATS: disconnected from {servers}; open streams go on");
                told_status.nats("NATS disconnected, trying again");
            }
            Event::ServerError(_) => {
                let text = explain(&event);
                error!("{text}");
                told_status.trouble(Some(text));
            }
            other => warn!("{}", explain(other)),
        };
        let name = format!("{SERVICE} {}", settings.host);
        let inbox = format!("{}.inbox", subjects.root());
        let client = settings.nats.connect(&name, Some(inbox), pause, told).await?;
        Ok(Bus { client, subjects, hello, status, connects })
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
        let metadata = HashMap::from([("host".to_owned(), self.hello.host.to_string())]);
        let service = self
            .client
            .service_builder()
            .description("Opens allowed targets of this host")
            .metadata(metadata)
            // A group of its own: two agents with one host id must both hear, and so notice each other.
            .queue_group(format!("{SERVICE}-{}", self.hello.instance))
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
        let bus = Arc::new(self);
        let publishing = tokio::spawn(bus.clone().publish(records));
        let proving = tokio::spawn(bus.clone().prove(ready));
        let places = Arc::new(Semaphore::new(UNDER_WAY));
        loop {
            let next = tokio::select! {
                next = requests.next() => next,
                () = agent.stopping.cancelled() => None,
            };
            let Some((name, request)) = next else { break };
            let (agent, bus) = (agent.clone(), bus.clone());
            let place = places.clone().try_acquire_owned();
            tokio::spawn(async move {
                let answer = match (&place, name) {
                    (Err(_), _) => {
                        let why = format!("{UNDER_WAY} commands are under way");
                        json(&Answer::refused(Refusal::new(Code::Busy, why)))
                    }
                    (_, Name::Start) => json(&agent.start(&request.message.payload).await),
                    (_, Name::Stop) => json(&agent.stop(&request.message.payload)),
                    (_, Name::Targets) => json(&agent.targets()),
                    (_, Name::Hello) => json(&bus.hear(&request.message.payload)),
                };
                drop(place);
                reply(&request, answer).await;
            });
        }
        proving.abort();
        drop(agent);
        // Streams that drain still make records. They end when nobody holds the agent any more.
        publishing.await.context("publish records")
    }

    /// Proves after every connect that our subjects reach us, and looks for others who answer for us.
    async fn prove(self: Arc<Self>, ready: impl FnOnce()) {
        let mut connects = self.connects.clone();
        let mut ready = Some(ready);
        while connects.wait_for(|count| *count > 0).await.is_ok() {
            connects.mark_unchanged();
            match self.greet().await {
                Ok(others) if others.is_empty() => {
                    info!("NATS: connected, {} is heard", self.subjects.root());
                    self.status.nats("NATS connected");
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                }
                Ok(others) => {
                    for other in others {
                        self.doubled(&other);
                    }
                    self.status.nats("NATS connected");
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                }
                Err(why) => {
                    warn!("NATS: {why:#}; trying again");
                    self.status.nats(format!("NATS connected, but {why:#}"));
                    tokio::time::sleep(pause(3)).await;
                    continue;
                }
            }
            if connects.changed().await.is_err() {
                return;
            }
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
    fn hear(&self, payload: &[u8]) -> Hello {
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
        self.status.trouble(Some(text));
    }

    /// Publishes records for the audit, until nobody makes any.
    async fn publish(self: Arc<Self>, mut records: mpsc::Receiver<Record>) {
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
