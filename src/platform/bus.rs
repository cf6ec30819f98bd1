//! The platform's side of NATS: asks hosts, and tells apart why one does not answer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use async_nats::connection::State;
use async_nats::{Client, Event, ServerError, StatusCode};
use futures_util::StreamExt;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::daemon::nats::{Heard, Nats, explain};
use crate::link::backoff::random_fraction;
use crate::protocol::close::MAX_REASON;
use crate::protocol::plain::plain;

/// Refusals of the server that may wait for a question to look at them.
const REFUSALS: usize = 64;

/// A connection to NATS.
#[derive(Debug)]
pub struct Bus {
    client: Client,
    heard: Heard,
    /// What the server says that we may not do.
    refusals: broadcast::Sender<String>,
    /// Whether it was logged that JetStream captures our questions.
    is_capture_known: AtomicBool,
}

/// Why a host gave no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody subscribes to its subjects.
    Offline,
    /// It did not answer in time. Where a JetStream stream captures its subjects, NATS cannot say whether it is there:
    /// the name of that stream.
    Late(Option<String>),
    /// We are not connected, or may not ask.
    Nats(String),
    /// It answered something unknown.
    Nonsense(String),
}

impl Unanswered {
    /// Whether nobody can have heard the question.
    pub fn was_heard_by_nobody(&self) -> bool {
        matches!(self, Unanswered::Offline | Unanswered::Nats(_))
    }
}

impl Bus {
    /// Connects, and goes on trying in the background.
    ///
    /// # Errors
    /// When the settings cannot be used at all.
    pub async fn connect(nats: &Nats) -> Result<Bus> {
        let (refusals, _) = broadcast::channel(REFUSALS);
        let told = {
            let refusals = refusals.clone();
            move |event: Event| match event {
                Event::Connected => info!("platform: NATS connected"),
                event => {
                    warn!("platform: {}", explain(&event));
                    if let Event::ServerError(ServerError::Other(text)) = event {
                        // Without a question under way nobody listens.
                        let _ = refusals.send(text);
                    }
                }
            }
        };
        let client = nats.connect("stream-relay platform", None, pause, told).await?;
        Ok(Bus {
            heard: Heard::of(client.clone()),
            client,
            refusals,
            is_capture_known: AtomicBool::new(false),
        })
    }

    /// Asks a host, and waits for `limit` at most. Each question has an inbox of its own: a subscription for all of
    /// them could be lost with a permission, and would not come back with it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        question: &impl Serialize,
        limit: Duration,
    ) -> Result<T, Unanswered> {
        // Without a connection a request would wait for one, and its grant would grow old.
        self.ready().map_err(Unanswered::Nats)?;
        let payload =
            serde_json::to_vec(question).map_err(|error| Unanswered::Nonsense(error.to_string()))?;
        let mut captured = None;
        let answered = timeout(limit, self.answer(&subject, payload, &mut captured)).await;
        match answered {
            Ok(answer) => serde_json::from_slice(&answer?)
                .map_err(|error| Unanswered::Nonsense(plain(&error.to_string(), MAX_REASON))),
            Err(_) => Err(Unanswered::Late(captured)),
        }
    }

    /// The payload of the first answer that is of a host. `captured` learns which stream of JetStream was quicker.
    async fn answer(
        &self,
        subject: &str,
        question: Vec<u8>,
        captured: &mut Option<String>,
    ) -> Result<Bytes, Unanswered> {
        let inbox = self.client.new_inbox();
        let mut refusals = self.refusals.subscribe();
        let failed = |error: &dyn std::fmt::Display| Unanswered::Nats(format!("NATS: {error}"));
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let mut answers = subscribed.map_err(|error| failed(&error))?;
        let published =
            self.client.publish_with_reply(subject.to_owned(), inbox.clone(), question.into()).await;
        published.map_err(|error| failed(&error))?;
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    None => return Err(failed(&"the connection has ended")),
                    Some(answer) if answer.status == Some(StatusCode::NO_RESPONDERS) => {
                        return Err(Unanswered::Offline);
                    }
                    Some(answer) => match serde_json::from_slice::<Acknowledgement>(&answer.payload) {
                        Ok(Acknowledgement { stream, .. }) => {
                            self.say_once_that_it_is_captured(&stream, subject);
                            *captured = Some(stream);
                        }
                        Err(_) => return Ok(answer.payload),
                    },
                },
                Ok(refusal) = refusals.recv() => if let Some(why) = forbidden(&refusal, subject, &inbox) {
                    return Err(Unanswered::Nats(why));
                },
            }
        }
    }

    fn say_once_that_it_is_captured(&self, stream: &str, subject: &str) {
        if !self.is_capture_known.swap(true, Relaxed) {
            let stream = plain(stream, MAX_REASON);
            warn!(
                "platform: the JetStream stream {stream} captures {subject}: a command that is replayed later is \
                 worthless, and NATS cannot tell that a host is offline; let it capture only the hosts' event.> subjects"
            );
        }
    }

    /// Whether the connection does its part.
    ///
    /// # Errors
    /// When it is stuck.
    pub fn health(&self) -> Result<(), String> {
        self.heard.check()
    }

    /// Whether hosts can be asked.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ready(&self) -> Result<(), String> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            state => Err(format!("NATS is {state}")),
        }
    }
}

/// What JetStream says when a stream has captured a message: it goes to the inbox, too, and is no host's answer.
#[derive(Deserialize)]
struct Acknowledgement {
    stream: String,
    #[serde(rename = "seq")]
    _seq: u64,
}

/// What to tell who asked if the server's refusal is about this question.
fn forbidden(refusal: &str, subject: &str, inbox: &str) -> Option<String> {
    let names = |subject: &str| refusal.contains(&format!("\"{subject}\""));
    let what = match (names(subject), names(inbox)) {
        (true, _) => format!("publish to {subject}"),
        (_, true) => "subscribe to its inbox, _INBOX.>".to_owned(),
        _ => return None,
    };
    Some(format!("NATS does not permit the platform to {what}: grant it in the server's permissions"))
}

fn pause(tries: usize) -> Duration {
    let most = Duration::from_millis(100 << tries.min(7));
    most.mul_f64(0.2 + 0.8 * random_fraction())
}
