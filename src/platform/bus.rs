//! The platform's side of NATS: asks hosts, and tells apart why one does not answer.

use std::time::Duration;

use anyhow::Result;
use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{Client, Event, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::daemon::nats::{Heard, Nats, explain};
use crate::link::backoff::random_fraction;

/// A connection to NATS.
#[derive(Debug)]
pub struct Bus {
    client: Client,
    heard: Heard,
}

/// Why a host gave no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nobody subscribes to its subjects.
    Offline,
    /// It did not answer in time.
    Late,
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
        let told = |event: Event| match event {
            Event::Connected => info!("platform: NATS connected"),
            event => warn!("platform: {}", explain(&event)),
        };
        let client = nats.connect("stream-relay platform", None, pause, told).await?;
        Ok(Bus { heard: Heard::of(client.clone()), client })
    }

    /// Asks a host, and waits for `timeout` at most.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        question: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, Unanswered> {
        // Without a connection a request would wait for one, and its grant would grow old.
        self.ready().map_err(Unanswered::Nats)?;
        let payload =
            serde_json::to_vec(question).map_err(|error| Unanswered::Nonsense(error.to_string()))?;
        let request = Request::new().payload(payload.into()).timeout(Some(timeout));
        let answer =
            self.client.send_request(subject, request).await.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => Unanswered::Offline,
                RequestErrorKind::TimedOut => Unanswered::Late,
                _ => Unanswered::Nats(format!("NATS: {error}")),
            })?;
        serde_json::from_slice(&answer.payload).map_err(|error| Unanswered::Nonsense(error.to_string()))
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

fn pause(tries: usize) -> Duration {
    let most = Duration::from_millis(100 << tries.min(7));
    most.mul_f64(0.2 + 0.8 * random_fraction())
}
