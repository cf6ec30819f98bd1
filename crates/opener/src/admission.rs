//! What begins a session at an opener: verifies it with the code that the network half has too, and accepts it once.

use std::path::Path;
use std::time::{Duration, SystemTime};

use protocol::audit::Context;
use protocol::command::{Code, Refusal};
use protocol::issuers::Issuers;

use super::allowlist::{Allowlist, Permit};
use super::check::{Rules, check_grant};
use super::request::{Request, Start};
use super::seen::Seen;
use super::settings::{Authority, Settings};

/// How long a session of simple mode is remembered.
const UNPROVEN_MEMORY: Duration = Duration::from_secs(3600);

/// What a verified grant says.
pub(crate) struct Verified {
    pub context: Context,
    pub request: Request,
    /// Until when the grant is valid.
    until: SystemTime,
}

/// A refusal, and what its record says.
pub(crate) struct Refused {
    pub refusal: Refusal,
    pub context: Context,
}

fn refused(refusal: Refusal, context: &Context) -> Box<Refused> {
    Box::new(Refused { refusal, context: context.clone() })
}

/// Verifies what begins a session, and accepts it once.
pub(crate) fn begin(
    start: Start,
    settings: &Settings,
    allowlist: &Allowlist,
    seen: &Path,
) -> Result<(Verified, Permit), Box<Refused>> {
    let host = Context { host: Some(settings.host.clone()), ..Context::default() };
    let verified = match (start, &settings.authority) {
        (Start::Grant(grant), Authority::Grants { issuers, leeway }) => {
            verify(&grant, issuers, *leeway, settings)?
        }
        (Start::Unproven(request), Authority::NetworkHalf) => Verified {
            context: Context {
                session: Some(request.session.clone()),
                target: Some(request.target.clone()),
                ..host
            },
            request,
            until: SystemTime::now() + UNPROVEN_MEMORY,
        },
        (Start::Grant(_), Authority::NetworkHalf) => {
            let why = "this host is in simple mode and takes no grants";
            return Err(refused(Refusal::new(Code::WrongAuthMode, why), &host));
        }
        (Start::Unproven(_), Authority::Grants { .. }) => {
            let why = "this host takes signed grants only";
            return Err(refused(Refusal::new(Code::WrongAuthMode, why), &host));
        }
    };
    let Request { session, target, params, mode, .. } = &verified.request;
    let permit = allowlist.permit(target, params, *mode);
    let permit = permit.map_err(|refusal| refused(refusal, &verified.context))?;
    let refusal = match Seen::new(seen).remember(session, verified.until) {
        Ok(true) => return Ok((verified, permit)),
        Ok(false) => Refusal::new(Code::GrantReplayed, "this session was begun before"),
        Err(error) => {
            let seen = seen.display();
            Refusal::new(Code::Internal, format!("the opener cannot remember the session in {seen}: {error}"))
        }
    };
    Err(refused(refusal, &verified.context))
}

fn verify(
    jws: &str,
    issuers: &Issuers,
    leeway: Duration,
    settings: &Settings,
) -> Result<Verified, Box<Refused>> {
    let host = Context { host: Some(settings.host.clone()), ..Context::default() };
    let grant = issuers.verify(jws).map_err(|refusal| refused(refusal, &host))?;
    let claims = grant.claims();
    let context = Context {
        session: Some(claims.sid.clone()),
        target: Some(claims.target.clone()),
        user: claims.user.clone(),
        token: Some(claims.token_sha256),
        ..host
    };
    let Settings { host, relays, has_host_key, .. } = settings;
    let (now, rules) = (SystemTime::now(), Rules { host, leeway, relays, has_host_key: *has_host_key });
    check_grant(&grant, now, rules).map_err(|refusal| refused(refusal, &context))?;
    let until = now + grant.time_left(now) + leeway;
    Ok(Verified { context, request: Request::from_claims(claims), until })
}
