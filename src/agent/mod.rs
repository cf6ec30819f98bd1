//! The agent: listens on nothing, takes commands, dials out, and links local targets.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::daemon::audit::{Event, Record};
use crate::daemon::metrics::Counter;
use crate::daemon::throttle::Throttle;
use crate::daemon::tls;
use crate::link::dial::{Address, Dialer};
use crate::protocol::close::CloseFrame;
use crate::protocol::command::{
    Answer, Code, MAX_QUESTION, Refusal, Start, Stop as StopCommand, TargetList, VERSION,
};
use crate::protocol::end::End;

use allowlist::Allowlist;
use config::Settings;
use order::{Order, Receipt};
use parked::Parked;
use sessions::Sessions;

pub mod allowlist;
pub mod bus;
mod calls;
pub mod config;
mod hello;
mod inboxes;
mod micro;
mod order;
mod parked;
mod presence;
pub mod run;
mod sessions;
mod status;
pub mod stop;
mod stream;
pub mod target;
pub mod test_dial;

/// Records that wait to be published: an outage of NATS must not fill the memory.
const WAITING_RECORDS: usize = 1024;

/// A running agent.
pub struct Agent {
    settings: RwLock<Arc<Settings>>,
    dialer: RwLock<Dialer>,
    allowlist: Allowlist,
    sessions: Sessions,
    records: mpsc::Sender<Record>,
    /// Records of commands that nobody need have signed: by the code of the refusal.
    unsigned: Throttle<&'static str>,
    /// Records of signed commands that were refused, which can be sent again and again: by their session.
    signed: Throttle<String>,
    /// Takes nothing new.
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Agent {
    /// An agent, and the records that it wants published.
    ///
    /// # Errors
    /// When the trust for relays cannot be set up.
    pub fn new(
        settings: Settings,
        stopping: CancellationToken,
        tasks: TaskTracker,
    ) -> Result<(Arc<Agent>, mpsc::Receiver<Record>)> {
        let (records, published) = mpsc::channel(WAITING_RECORDS);
        let agent = Agent {
            dialer: RwLock::new(dialer(&settings)?),
            allowlist: Allowlist::new(settings.targets.clone(), settings.streams),
            sessions: Sessions::default(),
            settings: RwLock::new(Arc::new(settings)),
            records,
            unsigned: Throttle::new("refused commands", Counter::default()),
            signed: Throttle::new("refusals of signed commands", Counter::default()),
            stopping,
            tasks,
        };
        Ok((Arc::new(agent), published))
    }

    /// Takes over new settings. Streams whose target is gone or changed end; all others go on. Host id,
    /// prefix and NATS stay as they were: true if they should not.
    ///
    /// # Errors
    /// When the trust for relays cannot be set up; then everything stays as it was.
    pub fn reload(&self, settings: Settings) -> Result<bool> {
        let dialer = dialer(&settings)?;
        let old = self.settings();
        let needs_restart =
            settings.nats != old.nats || settings.host != old.host || settings.prefix != old.prefix;
        *self.dialer.write().unwrap_or_else(PoisonError::into_inner) = dialer;
        self.allowlist.replace(settings.targets.clone(), settings.streams);
        // What is connected stays connected, and the next reload must still see the difference.
        let settings = Settings {
            host: old.host.clone(),
            prefix: old.prefix.clone(),
            nats: old.nats.clone(),
            ..settings
        };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(needs_restart)
    }

    /// Carries out a start command. The answer comes when the host is parked at the relay, or when there is no more
    /// time for it.
    pub async fn start(self: &Arc<Self>, payload: Bytes, receipt: Receipt) -> Answer {
        let settings = self.settings();
        let mut record = Record { host: Some(settings.host.clone()), ..Record::new(Event::Refused) };
        match self.parked(payload, receipt, &settings, &mut record).await {
            Ok(parked) => {
                let session = record.session.unwrap_or_default();
                self.tasks.spawn(parked.run());
                Answer::accepted(session)
            }
            Err(refusal) => self.refuse(refusal, record),
        }
    }

    /// Answers a start command that is one too many.
    pub fn busy(&self, under_way: usize) -> Answer {
        let record = Record { host: Some(self.settings().host.clone()), ..Record::new(Event::Refused) };
        self.refuse(Refusal::new(Code::Busy, format!("{under_way} commands are under way")), record)
    }

    /// The answer to a command that is refused, and its record if there are not too many of its kind.
    fn refuse(&self, refusal: Refusal, record: Record) -> Answer {
        let end = if refusal.code == Code::Busy { End::TooMany } else { End::NotAllowed };
        let is_told = match &record.session {
            Some(session) => self.signed.admits(session.clone()),
            None => self.unsigned.admits(refusal.code.label()),
        };
        if is_told {
            self.tell(Record { end: Some(end), reason: Some(refusal.to_string()), ..record });
        }
        Answer::refused(refusal)
    }

    /// From bytes to a parked host; `record` learns what is known on the way.
    async fn parked(
        self: &Arc<Self>,
        payload: Bytes,
        receipt: Receipt,
        settings: &Settings,
        record: &mut Record,
    ) -> Result<Parked, Refusal> {
        if self.stopping.is_cancelled() {
            return Err(Refusal::new(Code::Stopping, "this agent is shutting down"));
        }
        let start = Start::parse(&payload)?;
        // It shares the memory of what else was read with it, and a dial may take long.
        drop(payload);
        let (order, ticket) = Order::verify(start, receipt, settings, record)?;
        let permit = self.allowlist.permit(&order.target, &order.params, order.mode)?;
        // Not before: a value that breaks a rule is repeated nowhere.
        record.params = order.params.clone();
        let user = order.user.as_deref();
        let session = self.sessions.begin(&order.session, user, order.remember, settings.unused)?;
        Parked::dial(self, (order, ticket), session, permit).await
    }

    /// Carries out a stop command.
    pub fn stop(&self, payload: &[u8]) -> Answer {
        if payload.len() > MAX_QUESTION {
            let why = format!("a stop command is at most {MAX_QUESTION} bytes");
            return Answer::refused(Refusal::new(Code::TooLarge, why));
        }
        let Ok(command) = serde_json::from_slice::<StopCommand>(payload) else {
            return Answer::refused(Refusal::new(
                Code::BadCommand,
                "expected {\"session\":\"…\",\"reason\":\"…\"}",
            ));
        };
        match self.sessions.stop(&command.session, CloseFrame::by_platform(&command.reason)) {
            Ok(()) => Answer::accepted(command.session),
            Err(refusal) => Answer::refused(refusal),
        }
    }

    /// What may be opened.
    pub fn targets(&self) -> TargetList {
        TargetList { v: VERSION, host: self.settings().host.clone(), targets: self.allowlist.infos() }
    }

    /// Ends all sessions, for a reason.
    pub fn stop_all(&self, why: &CloseFrame) {
        self.sessions.stop_all(why);
    }

    /// Logs a record and has it published.
    fn tell(&self, record: Record) {
        record.log();
        if let Err(mpsc::error::TrySendError::Full(_)) = self.records.try_send(record)
            && self.unsigned.admits("records that NATS did not take")
        {
            warn!("{WAITING_RECORDS} records wait for NATS: this one is only in the log");
        }
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn dialer(&self) -> Dialer {
        self.dialer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How relays are dialled with these settings.
fn dialer(settings: &Settings) -> Result<Dialer> {
    Ok(Dialer { tls: trust(settings)?, proxy: settings.proxy.clone(), limits: settings.leg })
}

/// Whom we trust to be a relay; a host that dials none by `wss://` needs no certificates.
fn trust(settings: &Settings) -> Result<Arc<rustls::ClientConfig>> {
    let is_tls = |url: &String| Address::of(url).is_ok_and(|address| address.tls);
    match settings.relays.iter().any(is_tls) || settings.relay_ca.is_some() {
        true => tls::client_config(settings.relay_ca.as_deref()).context("[relay]"),
        false => tls::trusting_nobody(),
    }
}
