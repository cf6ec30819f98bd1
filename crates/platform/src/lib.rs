//! The bundled platform, for self-hosting: decides who may open what, signs grants, sends commands to hosts over NATS,
//! and returns URLs. It knows the relay only by its URL.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use protocol::command::{Answer, MAX_COMMAND, Refusal, Stop, Subjects, TargetList, VERSION};
use protocol::grant::{Claims, unix};
use protocol::headers::STREAM_PATH;
use protocol::host::HostId;
use protocol::token::{Token, TokenHash};
use service::metrics::Registry;

use bus::{Bus, Unanswered};
use config::Settings;
use counts::Counts;
use open_request::OpenRequest;
use policy::ApiKey;
use session_index::{Opened, SessionIndex};
use usage::{Exceeded, Usage};

pub mod api;
mod bus;
pub mod config;
mod counts;
pub mod inspect;
mod key;
pub mod keygen;
mod open_request;
mod policy;
mod session_index;
#[cfg(test)]
mod testing;
mod usage;

pub struct Platform {
    current: RwLock<Arc<Current>>,
    /// Id of this run of the program, which is in every grant as `relay_run`.
    run: String,
    bus: Bus,
    session_index: Mutex<SessionIndex>,
    usage: Usage,
    counts: Counts,
}

/// Why a key is refused.
const OTHER_USER: &str =
    "this key may not speak for that user: `users` in its [[platform.api_key]] names those that it may";
const OTHER_MODE: &str =
    "this key may not have that mode: `modes` in its [[platform.api_key]] names the one that it may";

/// The part that a reload replaces as a whole.
struct Current {
    settings: Settings,
    /// URL of the relay, for clients and hosts.
    relay: String,
    /// How long a parked host waits at the relay.
    host_wait: Duration,
}

/// A session whose host is parked.
#[derive(Debug)]
struct StartedSession {
    id: String,
    /// The URL for the client, which contains the token.
    url: String,
    /// Fingerprint of the token, for the audit.
    fingerprint: String,
    /// Until when the host waits for a client.
    expires: SystemTime,
}

/// Why a request is refused.
#[derive(Debug)]
enum Denied {
    /// The key may not do this, for this reason.
    Forbidden(String),
    /// A limit of the key is reached.
    Exceeded(Exceeded),
    /// No such session, or none that this key may end.
    UnknownSession,
    /// The request is not valid.
    BadRequest(String),
    /// No agent of the host is connected.
    Offline,
    /// The agent did not answer in time. Has the name of a JetStream stream, if one hides whether the agent is there.
    Late(Option<String>),
    /// The agent refused, with its own code.
    Refused(Refusal),
    /// There is no connection to NATS, or no permission for the request.
    Nats(String),
    /// The agent's answer does not parse.
    NotUnderstood(String),
    /// A fault in the platform.
    Broken(String),
}

impl From<Unanswered> for Denied {
    fn from(why: Unanswered) -> Denied {
        match why {
            Unanswered::Offline => Denied::Offline,
            Unanswered::Late(captured) => Denied::Late(captured),
            Unanswered::Nats(text) => Denied::Nats(text),
            Unanswered::NotUnderstood(text) => Denied::NotUnderstood(text),
        }
    }
}

impl Platform {
    /// Connects to NATS. `relay` is the URL that clients and hosts use; hosts wait there for `host_wait`. The relay
    /// knows by `run` that a grant was signed after it started.
    ///
    /// # Errors
    /// If the settings cannot be used. An unreachable NATS server is not an error.
    pub async fn start(
        settings: Settings,
        relay: String,
        host_wait: Duration,
        run: String,
    ) -> Result<Platform> {
        let bus = Bus::connect(&settings.nats).await?;
        Ok(Platform {
            current: RwLock::new(Arc::new(Current { settings, relay, host_wait })),
            run,
            bus,
            session_index: Mutex::default(),
            usage: Usage::default(),
            counts: Counts::default(),
        })
    }

    /// Registers what the platform counts; call it once, before the metrics are rendered.
    pub fn register(&self, registry: &mut Registry) {
        self.counts.register(registry);
    }

    /// Takes over new settings: keys, policy, limits, the relay's URL. NATS and the subjects stay as they
    /// were: true if they should not.
    pub fn reload(&self, settings: Settings, relay: String, host_wait: Duration) -> bool {
        let old = self.current();
        let needs_restart = settings.nats != old.settings.nats || settings.prefix != old.settings.prefix;
        let (nats, prefix) = (old.settings.nats.clone(), old.settings.prefix.clone());
        self.usage.keep(settings.policy.keys());
        let current = Current { settings: Settings { nats, prefix, ..settings }, relay, host_wait };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
        needs_restart
    }

    /// Says how to find out whether the relay has the session of a token, open or parked.
    pub fn looks_at(&self, is_open: impl Fn(&TokenHash) -> bool + Send + Sync + 'static) {
        self.usage.looks_at(is_open);
    }

    /// Whether sessions can be opened.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ready(&self) -> Result<(), String> {
        self.bus.ready()
    }

    /// Whether the connection to NATS does its part; a server that is away is no fault of ours.
    ///
    /// # Errors
    /// When it is stuck.
    pub fn health(&self) -> Result<(), String> {
        self.bus.health().map_err(|why| format!("platform: {why}"))
    }

    /// Opens a session: policy, token, grant, and the host's consent. The request was checked.
    async fn open(&self, key: &ApiKey, request: &OpenRequest) -> Result<StartedSession, Denied> {
        if !key.may_open(&request.host, &request.target) {
            return Err(Denied::Forbidden(key.why_not(&request.host, Some(&request.target))));
        }
        if request.user.as_ref().is_some_and(|user| !key.may_act_for(user)) {
            return Err(Denied::Forbidden(OTHER_USER.into()));
        }
        let mode = key.mode(request.mode).map_err(|_| Denied::Forbidden(OTHER_MODE.into()))?;
        let current = self.current();
        let token = Token::generate().map_err(|error| Denied::Broken(error.to_string()))?;
        let (id, now) = (ulid::Ulid::generate().to_string(), SystemTime::now());
        let claims = Claims {
            mode,
            relay_run: Some(self.run.clone()),
            ..claims(&current, key, request, &token, &id, now)
        };
        let command = json!({
            "v": VERSION,
            "grant": current.settings.signing_key.sign(&claims),
            "answer_within_ms": answer_within(current.settings.answer_timeout).as_millis() as u64,
        });
        if command.to_string().len() > MAX_COMMAND {
            return Err(Denied::BadRequest(format!(
                "a command is at most {MAX_COMMAND} bytes: too much params"
            )));
        }
        let hash = token.hash();
        let dial = current.settings.grant_lifetime.max(current.settings.answer_timeout);
        self.usage.ask(key, hash, dial).map_err(Denied::Exceeded)?;
        let answer: Answer = self.ask(Subjects::start, &request.host, &command).await.inspect_err(|why| {
            if why.was_not_delivered() {
                self.usage.refused(key, &hash);
            }
        })?;
        if let Some(refusal) = answer.refusal {
            self.usage.refused(key, &hash);
            return Err(Denied::Refused(refusal));
        }
        if !answer.ok {
            return Err(Denied::NotUnderstood("a refusal without a code".into()));
        }
        self.usage.parked(key, &hash);
        self.session_index()
            .insert(&id, Opened { host: request.host.clone(), target: request.target.clone() });
        let url = format!("{}{STREAM_PATH}{}", current.relay, token.reveal());
        Ok(StartedSession { id, url, fingerprint: hash.fingerprint(), expires: now + current.host_wait })
    }

    /// Ends a session. `host` says where it is when it was opened before a restart, or not here.
    async fn end(
        &self,
        key: &ApiKey,
        session: &str,
        host: Option<HostId>,
        reason: &str,
    ) -> Result<HostId, Denied> {
        let host = match (self.session_index().find(session).cloned(), host) {
            (Some(opened), _) if key.may_open(&opened.host, &opened.target) => opened.host,
            // What was opened is not known, so only a key for everything on the host may end it.
            (None, Some(host)) if key.may_open_all(&host) => host,
            _ => return Err(Denied::UnknownSession),
        };
        let command = Stop { session: session.to_owned(), reason: reason.to_owned() };
        let answer: Answer = self.ask(Subjects::stop, &host, &command).await?;
        answer.refusal.map_or(Ok(host), |refusal| Err(Denied::Refused(refusal)))
    }

    /// What a host allows, as far as the key may see it.
    async fn targets(&self, key: &ApiKey, host: &HostId) -> Result<TargetList, Denied> {
        if !key.may_see(host) {
            return Err(Denied::Forbidden(key.why_not(host, None)));
        }
        let mut list: TargetList = self.ask(Subjects::targets, host, &()).await?;
        if list.host != *host {
            return Err(Denied::NotUnderstood(format!("host {} answers in its place", list.host)));
        }
        list.targets.retain(|target| key.may_open(host, &target.name));
        Ok(list)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        subject: fn(&Subjects) -> String,
        host: &HostId,
        question: &impl Serialize,
    ) -> Result<T, Unanswered> {
        let settings = &self.current().settings;
        let _timer = self.counts.time();
        self.bus.ask(subject(&Subjects::new(&settings.prefix, host)), question, settings.answer_timeout).await
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn session_index(&self) -> std::sync::MutexGuard<'_, SessionIndex> {
        // Nothing panics while holding it.
        self.session_index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a host may take if its answer is to be here in time: the ways there and back get a quarter, up to 1 s.
fn answer_within(timeout: Duration) -> Duration {
    timeout - (timeout / 4).min(Duration::from_secs(1))
}

fn claims(
    current: &Current,
    key: &ApiKey,
    request: &OpenRequest,
    token: &Token,
    id: &str,
    now: SystemTime,
) -> Claims {
    let settings = &current.settings;
    Claims {
        iss: settings.name.clone(),
        aud: format!("host:{}", request.host),
        sid: id.to_owned(),
        iat: unix(now),
        exp: unix(now) + settings.grant_lifetime.as_secs(),
        target: request.target.clone(),
        params: request.params.clone(),
        mode: request.mode,
        relay: current.relay.clone(),
        token_sha256: token.hash(),
        max_streams: request.max_streams,
        max_seconds: request.max_seconds.or(settings.max_seconds),
        origin: settings.origins.clone(),
        user: Some(request.user.clone().unwrap_or_else(|| key.name.clone())),
        cnf: None,
        relay_run: None,
    }
}
