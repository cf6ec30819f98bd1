//! Listens on NATS for what hosts say of themselves and of their sessions, and asks those that say nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Message, StatusCode};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use protocol::host::HostId;
use protocol::presence::{ALIVE, GONE};

use super::bus::Bus;
use super::hosts::{Hosts, MOST, Present};
use super::session_index::SessionIndex;
use super::stream_event::HostEvent;

/// The question to all agents, which each of them answers, also those of 0.1.0 (NATS micro services).
pub(crate) const QUESTION: &str = "$SRV.INFO.stream-agent";

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// No agent answers any more if none has for so long; 8,000 agents take 0.7 s together.
const QUIET: Duration = Duration::from_millis(500);

/// The longest time for all answers.
const ALL: Duration = Duration::from_secs(5);

/// How old answers may be when somebody looks at hosts.
const FRESH: Duration = Duration::from_secs(60);

/// How long the very first look waits for answers.
const FIRST: Duration = Duration::from_secs(1);

/// When to try again what NATS does not permit. It says nothing when it does.
const RETRY: Duration = Duration::from_secs(300);

/// NATS permits a subscription if it has not refused it for so long.
const PERMITTED: Duration = Duration::from_secs(2);

/// How often it is looked which hosts are silent, and which sessions are over.
const SWEEP: Duration = Duration::from_secs(5);

pub(crate) struct Watch {
    bus: Arc<Bus>,
    prefix: String,
    hosts: Arc<Hosts>,
    sessions: Arc<SessionIndex>,
    troubles: Mutex<Troubles>,
    is_wanted: Notify,
    /// When all agents were asked last.
    asked: watch::Sender<Option<Instant>>,
}

/// Why something is not known.
#[derive(Default)]
struct Troubles {
    events: Option<String>,
    question: Option<String>,
}

impl Watch {
    pub(crate) fn new(bus: Arc<Bus>, prefix: &str, hosts: Arc<Hosts>, sessions: Arc<SessionIndex>) -> Watch {
        let (troubles, is_wanted) = (Mutex::default(), Notify::new());
        let asked = watch::Sender::new(None);
        Watch { bus, prefix: prefix.to_owned(), hosts, sessions, troubles, is_wanted, asked }
    }

    /// Somebody looks at the hosts: agents are asked if that was too long ago. Waits only if it never was.
    pub(crate) async fn look(&self) {
        let last = *self.asked.borrow();
        if last.is_none_or(|at| at.elapsed() >= FRESH) {
            self.is_wanted.notify_one();
        }
        if last.is_none() && self.bus.ready().is_ok() {
            let mut asked = self.asked.subscribe();
            let _ = timeout(FIRST, asked.wait_for(Option::is_some)).await;
        }
    }

    /// Why it is not known which hosts are online, or not of all.
    pub(crate) fn trouble(&self) -> Option<String> {
        if let Err(why) = self.bus.ready() {
            return Some(why);
        }
        let troubles = self.troubles();
        troubles.events.clone().or_else(|| troubles.question.clone())
    }

    /// Listens to events for ever.
    pub(crate) async fn listen(self: Arc<Self>) {
        let subjects = ["event.>", ALIVE, GONE].map(|last| format!("{}.host.*.{last}", self.prefix));
        let (mut refusals, mut connects) = (self.bus.refusals(), self.bus.connects());
        loop {
            let opened = subjects.iter().map(|subject| self.bus.client().subscribe(subject.clone()));
            if let Ok(events) = futures_util::future::try_join_all(opened).await {
                let mut events = futures_util::stream::select_all(events);
                let permitted = sleep(PERMITTED);
                tokio::pin!(permitted);
                let mut is_permitted = false;
                loop {
                    tokio::select! {
                        event = events.next() => match event {
                            Some(event) => self.receive(&event),
                            None => break,
                        },
                        Ok(refusal) = refusals.recv() => if let Some(subject) = subjects
                            .iter()
                            .find(|subject| refusal.contains(&format!("\"{subject}\"")))
                        {
                            self.refused(format!("subscribe to {subject}"), |troubles| &mut troubles.events);
                            break;
                        },
                        () = &mut permitted, if !is_permitted => {
                            is_permitted = true;
                            self.troubles().events = None;
                        }
                    }
                }
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                Ok(()) = connects.changed() => {}
            }
        }
    }

    fn receive(&self, message: &Message) {
        match HostEvent::parse(&self.prefix, &message.subject, &message.payload) {
            Some(HostEvent::Alive(alive)) => self.hosts.alive(alive),
            Some(HostEvent::Gone(gone)) => self.hosts.gone(&gone),
            Some(HostEvent::Stream(event)) => self.sessions.receive(*event),
            None => {}
        }
    }

    /// Asks all agents after each connect and whenever somebody wants it, for ever.
    pub(crate) async fn ask(self: Arc<Self>) {
        let mut connects = self.bus.connects();
        loop {
            tokio::select! {
                () = self.is_wanted.notified() => {}
                Ok(()) = connects.changed() => {}
            }
            if self.bus.ready().is_err() {
                continue;
            }
            match self.ask_once().await {
                Ok(answers) => {
                    self.troubles().question = None;
                    self.hosts.answered(answers);
                    self.asked.send_replace(Some(Instant::now()));
                }
                Err(why) => {
                    self.refused(why, |troubles| &mut troubles.question);
                    self.asked.send_replace(Some(Instant::now()));
                    tokio::select! {
                        () = sleep(RETRY) => {}
                        Ok(()) = connects.changed() => self.is_wanted.notify_one(),
                    }
                }
            }
        }
    }

    /// The agents that answer, or what NATS does not permit.
    async fn ask_once(&self) -> Result<HashMap<HostId, Present>, String> {
        let (client, mut refusals) = (self.bus.client(), self.bus.refusals());
        let inbox = client.new_inbox();
        let failed = |error: &dyn std::fmt::Display| format!("ask all agents ({error})");
        let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| failed(&error))?;
        let published = client.publish_with_reply(QUESTION, inbox.clone(), "".into()).await;
        published.map_err(|error| failed(&error))?;
        let until = Instant::now() + ALL;
        let (mut present, mut quiet_at) = (HashMap::new(), until);
        loop {
            tokio::select! {
                answer = answers.next() => match answer {
                    None => return Err(failed(&"the connection has ended")),
                    Some(answer) if answer.status == Some(StatusCode::NO_RESPONDERS) => return Ok(present),
                    Some(answer) => {
                        // Every client that may answer can do so in any host's name, and as often as it likes.
                        if present.len() < MOST && let Some(answer) = parse(&self.prefix, &answer.payload) {
                            present.insert(answer.host.clone(), answer);
                        }
                        quiet_at = until.min(Instant::now() + QUIET);
                    }
                },
                Ok(refusal) = refusals.recv() => {
                    if refusal.contains(&format!("\"{QUESTION}\"")) {
                        return Err(format!("publish to {QUESTION}"));
                    }
                    if refusal.contains(&format!("\"{inbox}\"")) {
                        return Err("subscribe to its inbox, _INBOX.>".into());
                    }
                }
                () = tokio::time::sleep_until(quiet_at) => return Ok(present),
            }
        }
    }

    /// Looks for silent hosts and for sessions that are over, for ever.
    pub(crate) async fn sweep(self: Arc<Self>, is_open: impl Fn(&protocol::token::TokenHash) -> bool) {
        loop {
            sleep(SWEEP).await;
            self.hosts.sweep();
            self.sessions.sweep(&is_open);
        }
    }

    /// Says once what NATS does not permit.
    fn refused(&self, what: String, place: impl FnOnce(&mut Troubles) -> &mut Option<String>) {
        let why = format!(
            "NATS does not permit the platform to {what}: grant it in the server's permissions (docs/platform.md)"
        );
        let mut troubles = self.troubles();
        let place = place(&mut troubles);
        if place.as_ref() != Some(&why) {
            warn!("platform: the API does not know of all hosts and sessions: {why}");
            *place = Some(why);
        }
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, Troubles> {
        // Nothing panics while holding it.
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An agent's answer. Agents of another prefix are not ours, so the host is the one in the subjects of its endpoints.
fn parse(prefix: &str, answer: &[u8]) -> Option<Present> {
    #[derive(Deserialize)]
    struct Info {
        id: String,
        #[serde(default)]
        version: String,
        endpoints: Vec<Endpoint>,
    }
    #[derive(Deserialize)]
    struct Endpoint {
        subject: String,
    }
    let info: Info = serde_json::from_slice(answer).ok().filter(|_| answer.len() <= MAX_ANSWER)?;
    let host = |endpoint: &Endpoint| -> Option<HostId> {
        let rest = endpoint.subject.strip_prefix(prefix)?.strip_prefix(".host.")?;
        rest.split('.').next()?.parse().ok()
    };
    let host = info.endpoints.iter().find_map(host)?;
    Some(Present::new(host, &info.id, &info.version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_answer_names_its_host_in_the_subjects_of_its_endpoints() {
        let answer = |subject: &str| {
            format!(
                r#"{{"type":"io.nats.micro.v1.info_response","name":"stream-agent","id":"X","version":"0.1.0",
                "metadata":{{}},"description":"","endpoints":[{{"name":"start","subject":"{subject}","queue_group":"q","metadata":{{}}}}]}}"#
            )
        };
        let present = parse("stream.v1", answer("stream.v1.host.h1.start").as_bytes()).unwrap();
        let host = "h1".parse().unwrap();
        assert_eq!(present, Present::new(host, "X", "0.1.0"));
        for not in ["staging.host.h1.start", "stream.v1.host..start", "stream.v1", "x"] {
            assert_eq!(parse("stream.v1", answer(not).as_bytes()), None, "{not}");
        }
        assert_eq!(parse("stream.v1", b"{}"), None);
    }
}
