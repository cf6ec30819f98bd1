//! Verifies a start command: its signature ([`AuthenticStart`]), then its host, time and relay ([`VerifiedStart`]). Opens
//! nothing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use opener::{Request, Rules, check_grant};
use protocol::audit::Context;
use protocol::command::{ANSWER_WITHIN, Code, OpaqueStart, Refusal, Start, StartBody};
use protocol::grant::Grant;
use protocol::headers;
use protocol::host::HostId;
use protocol::issuers::Issuers;
use protocol::proof;
use protocol::token::TokenHash;
use service::secret::Secret;
use tracing::{Span, debug_span};

use super::config::{Auth, HostKey, Settings};
use super::dial_auth::{DialAuth, bearer, header};

/// How long a dial of simple mode is tried: its token has no date.
const OPAQUE_DEADLINE: Duration = Duration::from_secs(30);

/// The least time for a dial, if a grant comes just before its end.
const LEAST: Duration = Duration::from_secs(1);

/// How long a used session of simple mode is remembered.
const OPAQUE_MEMORY: Duration = Duration::from_secs(3600);

/// A start command that may be carried out if the allowlist permits it.
pub(crate) struct VerifiedStart {
    /// None in simple mode.
    pub grant: Option<String>,
    pub request: Request,
    /// Until when dials to the relay are tried.
    pub deadline: Instant,
    /// How long the session is remembered as used.
    pub remember: Duration,
    pub user: Option<String>,
    /// Hash of the client's token.
    pub token: TokenHash,
}

/// When a command was received, and whether its sender waits for the answer.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    pub at: Instant,
    /// False if the command was published without a reply subject.
    pub is_awaited: bool,
}

impl Receipt {
    /// Until when the relay is dialled: while the grant is valid, and no longer than the sender waits.
    fn deadline(self, dialled: Duration, answer: Option<Duration>) -> Instant {
        let longest = dialled.max(LEAST);
        self.at + if self.is_awaited { answer.unwrap_or(ANSWER_WITHIN).min(longest) } else { longest }
    }
}

/// A start command whose signature is good. Records may repeat what it says; nothing else of it has been checked.
pub(crate) struct AuthenticStart<'a> {
    body: Body<'a>,
    answer_within: Option<Duration>,
}

enum Body<'a> {
    Signed {
        grant: Box<Grant>,
        leeway: Duration,
    },
    /// Simple mode: anyone who can publish to this host is trusted.
    Opaque {
        start: OpaqueStart,
        relay_key: &'a Secret,
    },
}

impl AuthenticStart<'_> {
    /// Checks the signature.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn new(start: Start, auth: &Auth) -> Result<AuthenticStart<'_>, Refusal> {
        let body = match (start.body, auth) {
            (StartBody::Signed(jws), Auth::Signed { issuers, leeway, .. }) => {
                Body::Signed { grant: Box::new(issuers.verify(&jws)?), leeway: *leeway }
            }
            (StartBody::Opaque(start), Auth::Opaque(relay_key)) => Body::Opaque { start, relay_key },
            (StartBody::Signed(_), Auth::Opaque(_)) => {
                let why = "this host is in simple mode and takes no grants";
                return Err(Refusal::new(Code::WrongAuthMode, why));
            }
            (StartBody::Opaque(_), Auth::Signed { .. }) => {
                return Err(Refusal::new(Code::WrongAuthMode, "this host takes signed grants only"));
            }
        };
        Ok(AuthenticStart { body, answer_within: start.answer_within })
    }

    /// What a record of its refusal says. Its parameters may still break a rule, and are not part of it.
    pub(crate) fn context(&self, host: &HostId) -> Context {
        let (session, target, user, token) = match &self.body {
            Body::Signed { grant, .. } => {
                let claims = grant.claims();
                (claims.sid.clone(), &claims.target, &claims.user, claims.token_sha256)
            }
            Body::Opaque { start, .. } => {
                let token = start.token.hash();
                (token.session(), &start.target, &start.user, token)
            }
        };
        Context {
            session: Some(session),
            host: Some(host.clone()),
            target: Some(target.clone()),
            user: user.clone(),
            token: Some(token),
            ..Context::default()
        }
    }

    /// Checks host, time, the host's key and the relay.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn verify(
        self,
        receipt: Receipt,
        settings: &Settings,
    ) -> Result<(VerifiedStart, DialAuth), Refusal> {
        let until = |dialled| receipt.deadline(dialled, self.answer_within);
        match self.body {
            Body::Signed { grant, leeway } => signed(&grant, leeway, until, settings),
            Body::Opaque { start, relay_key } => opaque(start, relay_key.expose(), until, settings),
        }
    }
}

impl VerifiedStart {
    /// Names the session in debug lines.
    pub(crate) fn span(&self) -> Span {
        debug_span!(parent: None, "session", session = self.request.session)
    }

    /// What records of this session say.
    pub(crate) fn context(&self, host: &HostId) -> Context {
        Context {
            session: Some(self.request.session.clone()),
            host: Some(host.clone()),
            target: Some(self.request.target.clone()),
            user: self.user.clone(),
            token: Some(self.token),
            ..Context::default()
        }
    }
}

fn signed(
    grant: &Grant,
    leeway: Duration,
    until: impl Fn(Duration) -> Instant,
    settings: &Settings,
) -> Result<(VerifiedStart, DialAuth), Refusal> {
    let (claims, now) = (grant.claims(), SystemTime::now());
    let Settings { host, relays, host_key, .. } = settings;
    check_grant(grant, now, Rules { host, leeway, relays, has_host_key: host_key.is_some() })?;
    let mut headers = vec![bearer(grant.jws())?];
    if let Some(HostKey(key)) = host_key {
        let proof = proof::prove(grant.jws(), key).map_err(|error| {
            Refusal::new(Code::GrantProof, format!("cannot sign with the host's key: {error}"))
        })?;
        headers.push(header(proof::HEADER, &proof)?);
    }
    let dial_auth = DialAuth::new(&claims.relay, headers, settings)?;
    let verified = VerifiedStart {
        grant: Some(grant.jws().to_owned()),
        request: Request::from_claims(claims),
        deadline: until(grant.time_left(now)),
        remember: protocol::grant::MAX_LIFETIME + leeway + leeway,
        user: claims.user.clone(),
        token: claims.token_sha256,
    };
    Ok((verified, dial_auth))
}

fn opaque(
    start: OpaqueStart,
    relay_key: &str,
    until: impl Fn(Duration) -> Instant,
    settings: &Settings,
) -> Result<(VerifiedStart, DialAuth), Refusal> {
    let token = start.token.hash();
    let mut headers = vec![
        bearer(&start.token.reveal())?,
        header(headers::HOST, settings.host.as_str())?,
        header(headers::RELAY_KEY, relay_key)?,
    ];
    if let Some(seconds) = start.max_seconds {
        headers.push((HeaderName::from_static(headers::MAX_SECONDS), HeaderValue::from(seconds)));
    }
    let dial_auth = DialAuth::new(&start.relay, headers, settings)?;
    let verified = VerifiedStart {
        grant: None,
        request: Request {
            session: token.session(),
            target: start.target,
            params: start.params,
            mode: start.mode,
            max_streams: start.max_streams,
            max_seconds: start.max_seconds,
        },
        deadline: until(OPAQUE_DEADLINE),
        remember: OPAQUE_MEMORY,
        user: start.user,
        token,
    };
    Ok((verified, dial_auth))
}

/// The reason in a refusal's record. Only the owner reads it, so it may list the keys of this host.
pub(crate) fn reason(refusal: &Refusal, auth: &Auth) -> String {
    match (refusal.code, auth) {
        (Code::GrantUnknownIssuer, Auth::Signed { issuers, dir, .. }) => {
            format!("{refusal}; {}", missing_key(issuers, dir))
        }
        _ => refusal.to_string(),
    }
}

/// What the owner can do about an unknown key.
fn missing_key(issuers: &Issuers, dir: &Path) -> String {
    let dir = dir.display();
    let known = issuers.kids().into_iter().map(|kid| format!("{kid}.pub")).collect::<Vec<_>>().join(", ");
    format!("{dir} has {known}: to believe that platform, copy the .pub file of its key to {dir}, and reload")
}
