//! The bundled platform, for self-hosting: decides who may open what, signs grants, asks hosts over
//! NATS, and hands out URLs. It knows the relay only by its URL.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tracing::info;

use crate::protocol::command::{Answer, Refusal, Subjects, TargetList, VERSION};
use crate::protocol::grant::{Claims, sign, unix};
use crate::protocol::headers::STREAM_PATH;
use crate::protocol::host::HostId;
use crate::protocol::token::Token;

use bus::{Bus, Unanswered};
use config::Settings;
use journal::Journal;
use policy::ApiKey;
use wish::Wish;

pub mod api;
mod bus;
pub mod config;
pub mod inspect;
mod journal;
pub mod keygen;
mod policy;
mod wish;

/// The platform.
pub struct Platform {
    settings: RwLock<Arc<Settings>>,
    bus: Bus,
    relay: String,
    host_wait: Duration,
    journal: Mutex<Journal>,
}

/// A session that can be opened.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// What its client connects to. Holds the token.
    pub url: String,
    /// Until when.
    pub expires: SystemTime,
}

/// Why something cannot be had.
#[derive(Debug)]
pub enum Denied {
    /// The key may not.
    Forbidden,
    /// No such session, as far as is known here.
    UnknownSession,
    /// No agent answers for the host.
    Offline,
    /// The agent did not answer in time.
    Late,
    /// The agent refused.
    Refused(Refusal),
    /// The platform's own parts fail.
    Broken(String),
}

impl From<Unanswered> for Denied {
    fn from(why: Unanswered) -> Denied {
        match why {
            Unanswered::Offline => Denied::Offline,
            Unanswered::Late => Denied::Late,
            Unanswered::Nats(text) => Denied::Broken(format!("NATS: {text}")),
            Unanswered::Nonsense(text) => {
                Denied::Broken(format!("the host's answer is not understood: {text}"))
            }
        }
    }
}

impl Platform {
    /// Connects to NATS. `relay` is the URL that clients and hosts use; hosts wait there for `host_wait`.
    ///
    /// # Errors
    /// When the settings cannot be used at all; NATS being away is no error.
    pub async fn start(settings: Settings, relay: String, host_wait: Duration) -> Result<Platform> {
        let bus = Bus::connect(&settings.nats, settings.answer_timeout).await?;
        Ok(Platform {
            settings: RwLock::new(Arc::new(settings)),
            bus,
            relay,
            host_wait,
            journal: Mutex::default(),
        })
    }

    /// Takes over new settings: keys, policy, limits. NATS and the subjects stay as they were: true if they
    /// should not.
    pub fn reload(&self, settings: Settings) -> bool {
        let old = self.settings();
        let needs_restart = settings.nats != old.nats || settings.prefix != old.prefix;
        let settings = Settings { nats: old.nats.clone(), prefix: old.prefix.clone(), ..settings };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        needs_restart
    }

    /// Whether sessions can be opened.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ready(&self) -> Result<(), String> {
        self.bus.ready()
    }

    /// Opens a session: policy, token, grant, and the host's consent.
    async fn open(&self, key: &ApiKey, wish: Wish, peer: IpAddr) -> Result<Session, Denied> {
        if !key.may_open(wish.host.as_str(), &wish.target) {
            return Err(Denied::Forbidden);
        }
        let settings = self.settings();
        let token = Token::generate().map_err(|error| Denied::Broken(error.to_string()))?;
        let (host, now) = (wish.host.clone(), SystemTime::now());
        let sid = ulid::Ulid::generate().to_string();
        let claims = Claims {
            iss: settings.name.clone(),
            aud: format!("host:{host}"),
            sid: sid.clone(),
            iat: unix(now),
            exp: unix(now) + settings.grant_lifetime.as_secs(),
            target: wish.target,
            params: wish.params,
            mode: wish.mode,
            relay: self.relay.clone(),
            token_sha256: token.hash(),
            max_streams: wish.max_streams,
            max_seconds: wish.max_seconds,
            origin: settings.origins.clone(),
            user: Some(wish.user.unwrap_or_else(|| key.name.clone())),
            cnf: None,
        };
        let command = serde_json::json!({ "v": VERSION, "grant": sign(&claims, &settings.signing_key) });
        let answer: Answer = self.bus.ask(self.subjects(&host).start(), &command).await?;
        if let Some(refusal) = answer.refusal {
            return Err(Denied::Refused(refusal));
        }
        info!(
            target: "audit",
            session = sid, host = host.as_str(), target = claims.target, user = claims.user, key = key.name,
            peer = %peer, token = token.hash().fingerprint(),
            "session opened"
        );
        self.journal().note(&sid, &host);
        let url = format!("{}{STREAM_PATH}{}", self.relay, token.reveal());
        Ok(Session { id: sid, url, expires: now + self.host_wait })
    }

    /// Ends a session that was opened here.
    async fn end(&self, key: &ApiKey, session: &str, reason: &str) -> Result<(), Denied> {
        let host = self.journal().host_of(session).ok_or(Denied::UnknownSession)?;
        if !key.may_see(host.as_str()) {
            return Err(Denied::UnknownSession);
        }
        let command = serde_json::json!({ "session": session, "reason": reason });
        let answer: Answer = self.bus.ask(self.subjects(&host).stop(), &command).await?;
        answer.refusal.map_or(Ok(()), |refusal| Err(Denied::Refused(refusal)))
    }

    /// What a host allows, as far as the key may see it.
    async fn targets(&self, key: &ApiKey, host: &HostId) -> Result<TargetList, Denied> {
        if !key.may_see(host.as_str()) {
            return Err(Denied::Forbidden);
        }
        let mut list: TargetList = self.bus.ask(self.subjects(host).targets(), &()).await?;
        list.targets.retain(|target| key.may_open(host.as_str(), &target.name));
        Ok(list)
    }

    fn subjects(&self, host: &HostId) -> Subjects {
        Subjects::new(&self.settings().prefix, host)
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn journal(&self) -> std::sync::MutexGuard<'_, Journal> {
        // Nothing panics while holding it.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
