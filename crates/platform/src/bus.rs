//! The platform's side of NATS: sends requests to hosts, and finds out why one does not answer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use async_nats::connection::State;
use async_nats::{Client, Event, ServerError, StatusCode};
use futures_util::StreamExt;
use humantime_serde::re::humantime::format_rfc3339_seconds;
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use protocol::close::MAX_REASON;
use protocol::plain::plain;
use service::nats::{Nats, ReadMonitor, explain};

/// The longest reason for a lost connection that an error quotes, in bytes.
const MAX_WHY: usize = 400;

/// Refusals of the server that are kept for requests in progress.
const REFUSALS: usize = 64;

/// Messages that one subscription may have in its queue: thousands of agents answer one question at once.
const QUEUE: usize = 4096;

#[derive(Debug)]
pub(crate) struct Bus {
    client: Client,
    reads: ReadMonitor,
    /// The server's refusals of permissions.
    refusals: broadcast::Sender<String>,
    /// Counts the connects.
    connects: watch::Sender<u64>,
    /// Since when and why there is no connection.
    away: Arc<Mutex<Away>>,
    /// The configured servers, for error messages.
    servers: String,
    /// Whether it was logged that JetStream captures the requests.
    is_capture_known: AtomicBool,
}

/// Since when there is no connection, and why.
#[derive(Debug)]
struct Away {
    since: SystemTime,
    why: Option<String>,
}

impl Away {
    fn since_now() -> Away {
        Away { since: SystemTime::now(), why: None }
    }

    fn receive(&mut self, event: &Event) {
        match event {
            Event::Connected | Event::Disconnected => *self = Away::since_now(),
            Event::ClientError(_) | Event::ServerError(_) => self.why = Some(describe_event(event)),
            _ => {}
        }
    }

    fn describe(&self, servers: &str) -> String {
        let since = format_rfc3339_seconds(self.since);
        let why = self.why.as_deref().map(|why| format!(": {}", plain(why, MAX_WHY))).unwrap_or_default();
        format!("the platform has had no connection to NATS at {servers} since {since}{why}")
    }
}

/// The event in words that name the section of this platform's settings.
fn describe_event(event: &Event) -> String {
    explain(event).replace("[nats]", "[platform.nats]")
}

/// Why a host gave no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// No agent subscribes to its subjects.
    Offline,
    /// It did not answer in time. If a JetStream stream captures its subjects, NATS cannot report that no agent is
    /// there; then this has the name of that stream.
    Late(Option<String>),
    /// There is no connection to NATS, or no permission for the request.
    Nats(String),
    /// The answer does not parse.
    NotUnderstood(String),
}

impl Unanswered {
    /// Whether the request certainly reached no agent.
    pub(crate) fn was_not_delivered(&self) -> bool {
        matches!(self, Unanswered::Offline | Unanswered::Nats(_))
    }
}

impl Bus {
    /// Connects; if that fails, tries again in the background.
    ///
    /// # Errors
    /// If the settings cannot be used.
    pub(crate) async fn connect(nats: &Nats) -> Result<Bus> {
        let (refusals, _) = broadcast::channel(REFUSALS);
        let connects = watch::Sender::new(0);
        let away = Arc::new(Mutex::new(Away::since_now()));
        let on_event = {
            let (refusals, connects, away) = (refusals.clone(), connects.clone(), away.clone());
            move |event: Event| {
                // No code panics while holding the lock.
                away.lock().unwrap_or_else(PoisonError::into_inner).receive(&event);
                match event {
                    Event::Connected => {
                        info!("platform: NATS connected");
                        connects.send_modify(|count| *count += 1);
                    }
                    event => {
                        warn!("platform: {}", describe_event(&event));
                        if let Event::ServerError(ServerError::Other(text)) = event {
                            // Fails if no request is in progress.
                            let _ = refusals.send(text);
                        }
                    }
                }
            }
        };
        let client = nats.clone().with_queue(QUEUE).connect("stream-relay platform", None, on_event).await?;
        Ok(Bus {
            reads: ReadMonitor::new(client.clone()),
            client,
            refusals,
            connects,
            away,
            servers: nats.describe(),
            is_capture_known: AtomicBool::new(false),
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What the server does not permit, from now on.
    pub(crate) fn refusals(&self) -> broadcast::Receiver<String> {
        self.refusals.subscribe()
    }

    /// Changes with each connect.
    pub(crate) fn connects(&self) -> watch::Receiver<u64> {
        self.connects.subscribe()
    }

    /// Asks a host, and waits for `limit` at most. Each question has an inbox of its own: a subscription for all of
    /// them could be lost with a permission, and would not come back with it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        question: &impl Serialize,
        limit: Duration,
    ) -> Result<T, Unanswered> {
        // Without a connection a request would wait for one, and its grant would grow old.
        self.ready().map_err(Unanswered::Nats)?;
        let payload =
            serde_json::to_vec(question).map_err(|error| Unanswered::NotUnderstood(error.to_string()))?;
        let mut captured = None;
        let answered = timeout(limit, self.answer(&subject, payload, &mut captured)).await;
        match answered {
            Ok(answer) => serde_json::from_slice(&answer?)
                .map_err(|error| Unanswered::NotUnderstood(plain(&error.to_string(), MAX_REASON))),
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
                 worthless, and NATS cannot report that a host is offline; let it capture only the hosts' event.> subjects"
            );
        }
    }

    /// Whether the connection does its part.
    ///
    /// # Errors
    /// When it is stuck.
    pub(crate) fn health(&self) -> Result<(), String> {
        self.reads.check()
    }

    /// Whether hosts can be asked.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn ready(&self) -> Result<(), String> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            _ => {
                // No code panics while holding the lock.
                let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
                Err(away.describe(&self.servers))
            }
        }
    }
}

/// The acknowledgement of JetStream for a captured message. It arrives in the inbox too, and is not the host's answer.
#[derive(Deserialize)]
struct Acknowledgement {
    stream: String,
    #[serde(rename = "seq")]
    _seq: u64,
}

/// The error for the client, if the server's refusal is about this request.
fn forbidden(refusal: &str, subject: &str, inbox: &str) -> Option<String> {
    let names = |subject: &str| refusal.contains(&format!("\"{subject}\""));
    let what = match (names(subject), names(inbox)) {
        (true, _) => format!("publish to {subject}"),
        (_, true) => "subscribe to its inbox, _INBOX.>".to_owned(),
        _ => return None,
    };
    Some(format!("NATS does not permit the platform to {what}: grant it in the server's permissions"))
}
