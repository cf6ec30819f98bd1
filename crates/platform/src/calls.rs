//! What the platform does with hosts: it opens and ends their sessions, and asks what they allow.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use protocol::command::{Answer, MAX_COMMAND, Stop, Subjects, TargetList, VERSION};
use protocol::grant::{Claims, unix};
use protocol::headers::STREAM_PATH;
use protocol::host::HostId;
use protocol::mode::Mode;
use protocol::token::Token;

use super::bus::Unanswered;
use super::denied::Denied;
use super::identity::Identity;
use super::open_request::OpenRequest;
use super::policy::ApiKey;
use super::session_index::Session;
use super::{Current, Platform};

/// Why a key is refused.
const OTHER_USER: &str =
    "this key may not speak for that user: `users` in its [[platform.api_key]] names those that it may";
const OTHER_THAN_SIGNED_IN: &str = "who signed in opens sessions in that name only: leave `user` out";
const OTHER_MODE: &str =
    "this key may not have that mode: `modes` in its [[platform.api_key]] names the one that it may";

/// A session whose host is parked.
#[derive(Debug)]
pub(crate) struct StartedSession {
    pub id: String,
    /// The URL for the client, which contains the token.
    pub url: String,
    /// Fingerprint of the token, for the audit.
    pub fingerprint: String,
    /// Until when the host waits for a client.
    pub expires: SystemTime,
    /// The mode in the grant; the target's own default if there is none.
    pub mode: Option<Mode>,
}

impl Platform {
    /// Opens a session: policy, token, grant, and the host's consent. The request was checked.
    pub(crate) async fn open(
        &self,
        identity: &Identity,
        request: &OpenRequest,
    ) -> Result<StartedSession, Denied> {
        let key = &identity.key;
        if !key.may_open(&request.host, &request.target) {
            return Err(Denied::Forbidden(key.why_not(&request.host, Some(&request.target))));
        }
        let user = request.user.as_ref().unwrap_or(&identity.user);
        if !identity.may_act_for(user) {
            let why = if identity.cookie.is_some() { OTHER_THAN_SIGNED_IN } else { OTHER_USER };
            return Err(Denied::Forbidden(why.into()));
        }
        let mode = key.mode(request.mode).map_err(|_| Denied::Forbidden(OTHER_MODE.into()))?;
        let current = self.current();
        let token = Token::generate().map_err(|error| Denied::Broken(error.to_string()))?;
        let (id, now) = (ulid::Ulid::generate().to_string(), SystemTime::now());
        let claims = Claims {
            mode,
            relay_run: Some(self.run.clone()),
            ..claims(&current, user, request, &token, &id, now)
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
        let url = format!("{}{STREAM_PATH}{}", current.relay, token.reveal());
        let (host, target) = (request.host.clone(), request.target.clone());
        let mut session = Session::waiting(host, target, &key.name, token, current.host_wait);
        session.params = request.params.clone();
        (session.mode, session.user) = (mode, Some(user.clone()));
        self.sessions.insert(&id, session);
        Ok(StartedSession {
            id,
            url,
            fingerprint: hash.fingerprint(),
            expires: now + current.host_wait,
            mode,
        })
    }

    /// Ends a session. `host` says where it is when it was opened before a restart, or not here.
    pub(crate) async fn end(
        &self,
        key: &ApiKey,
        session: &str,
        host: Option<HostId>,
        reason: &str,
    ) -> Result<HostId, Denied> {
        let found = self.sessions.find(session);
        let is_own = found.as_ref().is_some_and(|found| found.own.is_some());
        let host = match (found, host) {
            (Some(found), host) if found.is_for(key) && (is_own || host.is_none()) => found.host,
            // What was opened is not known, or only a host says so. A key for everything on the named host may end it.
            (_, Some(host)) if !is_own && key.may_open_all(&host) => host,
            _ => return Err(Denied::UnknownSession),
        };
        let command = Stop { session: session.to_owned(), reason: reason.to_owned() };
        let answer: Answer = self.ask(Subjects::stop, &host, &command).await?;
        answer.refusal.map_or(Ok(host), |refusal| Err(Denied::Refused(refusal)))
    }

    /// What a host allows, as far as the key may see it.
    pub(crate) async fn targets(&self, key: &ApiKey, host: &HostId) -> Result<TargetList, Denied> {
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

    /// Whether a target is a SPICE screen: its host says so, or agents before 0.2.0 by a name.
    pub(crate) async fn is_spice(&self, host: &HostId, target: &str) -> Result<bool, Denied> {
        #[derive(Deserialize)]
        struct List {
            targets: Vec<Listed>,
        }
        #[derive(Deserialize)]
        struct Listed {
            name: String,
            kind: String,
            title: Option<String>,
            view: Option<String>,
        }
        let list: List = self.ask(Subjects::targets, host, &()).await?;
        let listed = list.targets.into_iter().find(|listed| listed.name == target);
        Ok(listed.is_some_and(|listed| match listed.view {
            Some(view) => view == "spice",
            None => [listed.name, listed.kind, listed.title.unwrap_or_default()]
                .iter()
                .any(|word| word.to_ascii_lowercase().contains("spice")),
        }))
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
}

/// How long a host may take if its answer is to be here in time: the ways there and back get a quarter, up to 1 s.
fn answer_within(timeout: Duration) -> Duration {
    timeout - (timeout / 4).min(Duration::from_secs(1))
}

fn claims(
    current: &Current,
    user: &str,
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
        user: Some(user.to_owned()),
        cnf: None,
        relay_run: None,
    }
}
