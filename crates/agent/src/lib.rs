//! The agent: takes commands over NATS, dials relays, and links them with local targets. It listens on no port.

use std::sync::Arc;

use anyhow::Result;
use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use opener::Opener;
use protocol::audit::{Context, Event, Record};
use protocol::close::CloseFrame;
use protocol::command::{
    Answer, Code, MAX_QUESTION, Refusal, Start, Stop as StopCommand, TargetList, VERSION,
};
use protocol::end::{Closing, End};

use config::Settings;
use parked::Parked;
use state::State;
use verify::AuthenticStart;

pub use verify::Receipt;

pub mod bus;
mod calls;
pub mod config;
mod dial_auth;
mod health;
mod hello;
mod inboxes;
pub mod installed;
mod micro;
mod parked;
mod places;
mod registration;
pub mod run;
mod sessions;
mod state;
mod status;
mod stream;
pub mod test_dial;
mod verify;

/// A running agent; [`bus::Bus`] brings it commands.
pub struct Agent {
    pub(crate) state: Arc<State>,
}

impl Agent {
    /// An agent, and the records to publish.
    ///
    /// # Errors
    /// If the certificates for relays cannot be used.
    pub fn new(
        settings: Settings,
        opener: Opener,
        stopping: CancellationToken,
        tasks: TaskTracker,
    ) -> Result<(Arc<Agent>, mpsc::Receiver<Record>)> {
        let (state, published) = State::new(settings, opener, stopping, tasks)?;
        Ok((Arc::new(Agent { state: Arc::new(state) }), published))
    }

    /// Applies new settings. Streams whose target was removed or changed end. Returns whether host id, prefix or NATS
    /// differ: these need a restart.
    ///
    /// # Errors
    /// If the certificates for relays cannot be used. Then nothing changes.
    pub fn reload(&self, settings: Settings) -> Result<bool> {
        self.state.reload(settings)
    }

    /// Carries out a start command. The answer comes when the host is parked at the relay, or has failed to park in
    /// time.
    pub async fn start(self: &Arc<Self>, payload: Bytes, receipt: Receipt) -> Answer {
        match self.parked(payload, receipt, &self.state.settings()).await {
            Ok(parked) => {
                let session = parked.session().to_owned();
                let span = parked.span();
                self.state.tasks.spawn(parked.run().instrument(span));
                Answer::accepted(session)
            }
            Err((refusal, context)) => self.refuse(refusal, context),
        }
    }

    /// Refuses a start command because too many are under way.
    pub fn busy(&self, under_way: usize) -> Answer {
        let context = Context { host: Some(self.state.settings().host.clone()), ..Context::default() };
        self.refuse(Refusal::new(Code::Busy, format!("{under_way} commands are under way")), context)
    }

    /// Records a refused command, unless there are too many of its kind, and returns the answer.
    fn refuse(&self, refusal: Refusal, context: Context) -> Answer {
        let end = if refusal.code == Code::Busy { End::TooMany } else { End::NotAllowed };
        let is_recorded = match &context.session {
            Some(session) => self.state.signed.admits(session.clone()),
            None => self.state.unsigned.admits(refusal.code.label()),
        };
        if is_recorded {
            let reason = verify::reason(&refusal, &self.state.settings().auth);
            self.state.audit.report(context, Event::Refused(Closing::new(end, reason)));
        }
        Answer::refused(refusal)
    }

    /// From bytes to a parked host. A refusal comes with the context of its record, which grows with every step.
    async fn parked(
        self: &Arc<Self>,
        payload: Bytes,
        receipt: Receipt,
        settings: &Settings,
    ) -> Result<Parked, (Refusal, Context)> {
        let context = Context { host: Some(settings.host.clone()), ..Context::default() };
        let authenticated = match self.state.stopping.is_cancelled() {
            true => Err(Refusal::new(Code::Stopping, "this agent is shutting down")),
            false => Start::parse(&payload).and_then(|start| AuthenticStart::new(start, &settings.auth)),
        };
        // It shares a buffer with other messages, and a dial may take long.
        drop(payload);
        let start = authenticated.map_err(|refusal| (refusal, context))?;
        let context = start.context(&settings.host);
        let verified = start.verify(receipt, settings);
        let (verified, dial_auth) = verified.map_err(|refusal| (refusal, context.clone()))?;
        let begun = self.state.opener.begin(&verified.request, verified.grant.as_deref()).await;
        if settings.spare {
            self.state.opener.keep_spare();
        }
        let target = begun.and_then(|target| {
            self.state.places.check(target.permitted())?;
            Ok(target)
        });
        let target = target.map_err(|refusal| (refusal, context.clone()))?;
        // Not earlier: a value that breaks a rule is repeated nowhere.
        let context = Context { params: verified.request.params.clone(), ..context };
        let user = verified.user.as_deref();
        let session = match self.state.sessions.begin(
            &verified.request.session,
            user,
            verified.remember,
            settings.unused,
        ) {
            Ok(session) => session,
            Err(refusal) => return Err((refusal, context)),
        };
        let span = verified.span();
        let dialled =
            Parked::dial(&self.state, (verified, dial_auth), session, target).instrument(span).await;
        dialled.map_err(|refusal| (refusal, context))
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
        match self.state.sessions.stop(&command.session, CloseFrame::by_platform(&command.reason)) {
            Ok(()) => Answer::accepted(command.session),
            Err(refusal) => Answer::refused(refusal),
        }
    }

    /// The answer to `targets`.
    pub fn targets(&self) -> TargetList {
        TargetList {
            v: VERSION,
            host: self.state.settings().host.clone(),
            targets: self.state.opener.targets(),
        }
    }

    pub fn stop_all(&self, why: &CloseFrame) {
        self.state.sessions.stop_all(why);
    }
}
