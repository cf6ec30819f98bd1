//! The bundled platform, for self-hosting: decides who may open what, signs grants, asks hosts over
//! NATS, and hands out URLs. It knows the relay only by its URL.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::daemon::metrics::Registry;
use crate::protocol::command::{Answer, MAX_COMMAND, Refusal, Stop, Subjects, TargetList, VERSION};
use crate::protocol::grant::{Claims, sign, unix};
use crate::protocol::headers::STREAM_PATH;
use crate::protocol::host::HostId;
use crate::protocol::token::{Token, TokenHash};

use bus::{Bus, Unanswered};
use config::Settings;
use counts::Counts;
use journal::{Journal, Opened};
use policy::ApiKey;
use usage::{Exceeded, Usage};
use wish::Wish;

pub mod api;
mod bus;
pub mod config;
mod counts;
mod deed;
pub mod inspect;
mod journal;
mod key;
pub mod keygen;
mod policy;
#[cfg(test)]
mod testing;
mod usage;
mod wish;

/// The platform.
pub struct Platform {
    current: RwLock<Arc<Current>>,
    /// Stands in every grant for the run of the relay whose program this is.
    run: String,
    bus: Bus,
    journal: Mutex<Journal>,
    usage: Usage,
    counts: Counts,
}

/// Why a key may not.
const OTHER_TARGET: &str = "this key may not open that";
const OTHER_USER: &str =
    "this key may not speak for that user: `users` in its [[platform.api_key]] names those that it may";
const OTHER_MODE: &str =
    "this key may not have that mode: `modes` in its [[platform.api_key]] names the one that it may";

/// What a reload replaces.
struct Current {
    settings: Settings,
    /// The URL that clients and hosts use.
    relay: String,
    /// How long hosts wait there.
    host_wait: Duration,
}

/// A session that can be opened.
#[derive(Debug)]
struct Session {
    id: String,
    /// What its client connects to. Holds the token.
    url: String,
    /// Stands for the token in the audit.
    fingerprint: String,
    /// Until when a client may come.
    expires: SystemTime,
}

/// Why something cannot be had.
#[derive(Debug)]
enum Denied {
    /// The key may not, and why.
    Forbidden(&'static str),
    /// The key has had, or has, as much as it may.
    Exceeded(Exceeded),
    /// No such session, as far as is known here or this key may know.
    UnknownSession,
    /// The wish makes no sense.
    BadWish(String),
    /// No agent answers for the host.
    Offline,
    /// The agent did not answer in time; the JetStream stream that hides whether it is there.
    Late(Option<String>),
    /// The agent refused.
    Refused(Refusal),
    /// We are not connected to NATS, or may not ask.
    Nats(String),
    /// The agent's answer is not understood.
    Nonsense(String),
    /// A fault of our own.
    Broken(String),
}

impl From<Unanswered> for Denied {
    fn from(why: Unanswered) -> Denied {
        match why {
            Unanswered::Offline => Denied::Offline,
            Unanswered::Late(captured) => Denied::Late(captured),
            Unanswered::Nats(text) => Denied::Nats(text),
            Unanswered::Nonsense(text) => Denied::Nonsense(text),
        }
    }
}

impl Platform {
    /// Connects to NATS. `relay` is the URL that clients and hosts use; hosts wait there for `host_wait`. The relay
    /// knows by `run` that a grant was signed after it started.
    ///
    /// # Errors
    /// When the settings cannot be used at all; NATS being away is no error.
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
            journal: Mutex::default(),
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

    /// Opens a session: policy, token, grant, and the host's consent. The wish was checked.
    async fn open(&self, key: &ApiKey, wish: &Wish) -> Result<Session, Denied> {
        if !key.may_open(&wish.host, &wish.target) {
            return Err(Denied::Forbidden(OTHER_TARGET));
        }
        if wish.user.as_ref().is_some_and(|user| !key.may_speak_for(user)) {
            return Err(Denied::Forbidden(OTHER_USER));
        }
        let mode = key.mode(wish.mode).map_err(|_| Denied::Forbidden(OTHER_MODE))?;
        let current = self.current();
        let token = Token::generate().map_err(|error| Denied::Broken(error.to_string()))?;
        let (id, now) = (ulid::Ulid::generate().to_string(), SystemTime::now());
        let claims = Claims {
            mode,
            relay_run: Some(self.run.clone()),
            ..claims(&current, key, wish, &token, &id, now)
        };
        let command = json!({
            "v": VERSION,
            "grant": sign(&claims, &current.settings.signing_key),
            "answer_within_ms": answer_within(current.settings.answer_timeout).as_millis() as u64,
        });
        if command.to_string().len() > MAX_COMMAND {
            return Err(Denied::BadWish(format!(
                "a command is at most {MAX_COMMAND} bytes: too much params"
            )));
        }
        let hash = token.hash();
        let dial = current.settings.grant_lifetime.max(current.settings.answer_timeout);
        self.usage.ask(key, hash, dial).map_err(Denied::Exceeded)?;
        let answer: Answer = self.ask(Subjects::start, &wish.host, &command).await.inspect_err(|why| {
            if why.was_heard_by_nobody() {
                self.usage.refused(key, &hash);
            }
        })?;
        if let Some(refusal) = answer.refusal {
            self.usage.refused(key, &hash);
            return Err(Denied::Refused(refusal));
        }
        if !answer.ok {
            return Err(Denied::Nonsense("a refusal without a code".into()));
        }
        self.usage.parked(key, &hash);
        self.journal().note(&id, Opened { host: wish.host.clone(), target: wish.target.clone() });
        let url = format!("{}{STREAM_PATH}{}", current.relay, token.reveal());
        Ok(Session { id, url, fingerprint: hash.fingerprint(), expires: now + current.host_wait })
    }

    /// Ends a session. `host` says where it is when it was opened before a restart, or not here.
    async fn end(
        &self,
        key: &ApiKey,
        session: &str,
        host: Option<HostId>,
        reason: &str,
    ) -> Result<HostId, Denied> {
        let host = match (self.journal().find(session).cloned(), host) {
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
            return Err(Denied::Forbidden(OTHER_TARGET));
        }
        let mut list: TargetList = self.ask(Subjects::targets, host, &()).await?;
        if list.host != *host {
            return Err(Denied::Nonsense(format!("host {} answers in its place", list.host)));
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

    fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        // Nothing panics while holding it.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a host may take if its answer is to be here in time: the ways there and back get a quarter, up to 1 s.
fn answer_within(timeout: Duration) -> Duration {
    timeout - (timeout / 4).min(Duration::from_secs(1))
}

/// What the grant says.
fn claims(current: &Current, key: &ApiKey, wish: &Wish, token: &Token, id: &str, now: SystemTime) -> Claims {
    let settings = &current.settings;
    Claims {
        iss: settings.name.clone(),
        aud: format!("host:{}", wish.host),
        sid: id.to_owned(),
        iat: unix(now),
        exp: unix(now) + settings.grant_lifetime.as_secs(),
        target: wish.target.clone(),
        params: wish.params.clone(),
        mode: wish.mode,
        relay: current.relay.clone(),
        token_sha256: token.hash(),
        max_streams: wish.max_streams,
        max_seconds: wish.max_seconds.or(settings.max_seconds),
        origin: settings.origins.clone(),
        user: Some(wish.user.clone().unwrap_or_else(|| key.name.clone())),
        cnf: None,
        relay_run: None,
    }
}
