//! A host's dial: who it is, what it may do here, and its life until a client takes it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tracing::debug;

use crate::daemon::audit::{Event, Record};
use crate::daemon::network::{self, SUBSCRIBER};
use crate::link::frame::Role;
use crate::link::leg::{Farewell, Held as HeldLeg, Leg};
use crate::link::reader::Text;
use crate::link::socket::Socket;
use crate::link::upgrade;
use crate::protocol::close::CloseFrame;
use crate::protocol::command::{Code, Refusal};
use crate::protocol::end::End;
use crate::protocol::grant::{Claims, unix};
use crate::protocol::host::HostId;
use crate::protocol::origin::WebOrigin;
use crate::protocol::profile::Profile;
use crate::protocol::token::{Token, TokenHash};
use crate::protocol::{headers, proof};

use super::Relay;
use super::answer::{self, Answer};
use super::config::Auth;
use super::metrics::Held;
use super::rendezvous::{Admission, Parked, Secret};

/// How long a session of simple mode is remembered after its end: its token has no date of its own.
const REMEMBER_OPAQUE: Duration = Duration::from_secs(3600);

/// A host's side of a stream.
pub type HostLeg = Leg<Socket>;

/// Answers a dial: 101 and parked, or why not.
pub fn dial(relay: &Arc<Relay>, mut request: hyper::Request<Incoming>, peer: std::net::IpAddr) -> Answer {
    let is_test = request.headers().contains_key(headers::TEST);
    let refused = |refusal: Refusal, host: Option<HostId>| {
        if is_test && host.is_none() {
            return answer::refusal(&refusal);
        }
        relay.metrics.refused_host(refusal.code.label());
        let is_told = match &host {
            Some(host) => relay.dials.admits(host.clone()),
            None => relay.strangers.admits(network::of(peer, SUBSCRIBER)),
        };
        if is_told {
            Record {
                host,
                peer: Some(peer.to_string()),
                end: Some(End::NotAllowed),
                reason: Some(refusal.to_string()),
                ..Record::new(Event::Refused)
            }
            .log();
        }
        answer::refusal(&refusal)
    };
    if let Err(not) = upgrade::lost_on_the_way(&request) {
        return answer::error(not.status, "not_a_websocket", not.message);
    }
    let admission = match admit(relay, request.headers()) {
        Ok(admission) => admission,
        Err((refusal, host)) => return refused(refusal, host),
    };
    // Only now: without a grant, whatever else is wrong with a request is nobody's business.
    let handshake = match upgrade::Request::of(&request) {
        Ok(handshake) => handshake,
        Err(not) => return answer::error(not.status, "not_a_websocket", not.message),
    };
    if relay.stopping.is_cancelled() {
        return refused(Refusal::new(Code::Stopping, "relay is restarting"), Some(admission.host));
    }
    let host = admission.host.clone();
    let (secret, offered) = match secret(request.headers()) {
        Ok(secret) => secret,
        Err(refusal) => return refused(refusal, Some(host)),
    };
    let parked = match relay.rendezvous.park(admission, secret) {
        Ok(parked) => parked,
        Err(refusal) => return refused(refusal, Some(host)),
    };
    let is_spare = parked.is_spare();
    if secret == Secret::Unknown && !is_spare {
        relay.metrics.hosts_without_secret.inc();
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let relay = relay.clone();
    relay.tasks.clone().spawn(async move {
        let held = Held::one(&relay.metrics.hosts_parked);
        match upgrade::socket(upgraded).await {
            Ok((socket, early)) => {
                // It has shown a grant: pings say when it is lost.
                socket.give_up_after(None);
                let leg = Leg::new(socket, &early, Role::Server, Text::Messages, relay.settings().leg);
                park(&relay, parked, leg, held).await;
            }
            Err(error) => debug!("host left during the handshake: {error:#}"),
        }
    });
    let mut response: Answer = handshake.accept(None);
    response
        .headers_mut()
        .extend(offered.map(|secret| (HeaderName::from_static(headers::SESSION_SECRET), secret)));
    response
}

/// What the dial says of its session's secret; with one that the host is to get.
fn secret(headers: &HeaderMap) -> Result<(Secret, Option<HeaderValue>), Refusal> {
    match header(headers, headers::SESSION_SECRET) {
        None => Ok((Secret::Unknown, None)),
        Some(headers::YES) => {
            let internal = |error: &dyn std::fmt::Display| Refusal::new(Code::Internal, error.to_string());
            let secret = Token::generate().map_err(|error| internal(&error))?;
            let value = HeaderValue::from_str(&secret.reveal()).map_err(|error| internal(&error))?;
            Ok((Secret::Offered(secret.hash()), Some(value)))
        }
        Some(shown) => Ok((Secret::Shown(TokenHash::of(shown.as_bytes())), None)),
    }
}

/// Keeps a parked host alive until a client claims it, or its time is over.
async fn park(relay: &Relay, mut parked: Parked<HostLeg>, mut leg: HostLeg, held: Held) {
    let host_wait = relay.settings().host_wait;
    let admission = parked.admission().clone();
    let is_spare = parked.is_spare();
    let claimed = async {
        tokio::select! {
            claim = parked.claimed() => claim.ok_or(CloseFrame::new(End::SessionEnded, "the session is over")),
            () = tokio::time::sleep(host_wait), if !is_spare => {
                Err(CloseFrame::new(End::NoHost, "no client came in time"))
            }
            () = relay.stopping.cancelled() => Err(End::RelayRestarting.into()),
        }
    };
    let ended = match leg.hold(claimed).await {
        HeldLeg::Done(Ok(claim)) => {
            drop(held);
            // The client that claimed it may have left in this moment.
            match claim.hand_over(leg) {
                Ok(()) => return,
                Err(returned) => {
                    leg = returned;
                    let why = CloseFrame::new(End::PeerLeft, "the client left");
                    (why.clone().into(), Farewell::Say(why))
                }
            }
        }
        HeldLeg::Done(Err(why)) => (why.clone().into(), Farewell::Say(why)),
        HeldLeg::Text(_) => {
            let why = CloseFrame::new(End::ProtocolError, "a parked host has nothing to say");
            (why.clone().into(), Farewell::Say(why))
        }
        HeldLeg::Lost(closing, farewell) => (closing, farewell),
    };
    drop(parked);
    let (closing, farewell) = ended;
    if !is_spare {
        Record {
            session: Some(admission.session.clone()),
            host: Some(admission.host.clone()),
            target: admission.target.clone(),
            user: admission.user.clone(),
            token: Some(admission.token.fingerprint()),
            end: Some(closing.end),
            reason: Some(format!("parked host left unlinked: {}", closing.reason)),
            ..Record::new(Event::Refused)
        }
        .log();
    }
    leg.finish(farewell).await;
}

/// What the dial proves. With a refusal goes the host's name, as far as it is believed.
fn admit(relay: &Relay, headers: &HeaderMap) -> Result<Admission, (Refusal, Option<HostId>)> {
    let settings = relay.settings();
    let max_streams =
        number(headers, headers::MAX_STREAMS).unwrap_or(1).clamp(1, settings.max_streams.into());
    let bearer = header(headers, AUTHORIZATION.as_str())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| {
            (Refusal::new(Code::GrantMalformed, "no grant: a host dials with Authorization: Bearer"), None)
        })?;
    match &settings.auth {
        Auth::Signed { issuers, leeway } => {
            let grant = issuers.verify(bearer).map_err(|refusal| (refusal, None))?;
            let claims = grant.claims();
            let refuse = |refusal| (refusal, Some(grant.host().clone()));
            // A spare of a live session comes with the grant that the session began with.
            if !relay.rendezvous.is_live(&claims.token_sha256, &claims.sid) {
                grant.check_time(SystemTime::now(), *leeway).map_err(refuse)?;
                check_unseen(relay, claims, *leeway).map_err(refuse)?;
            }
            if !settings.is_named(&claims.relay) {
                let why = format!("grant names the relay {}, which is not this one", claims.relay);
                return Err(refuse(Refusal::new(Code::RelayNotAllowed, why)));
            }
            proof::check(&grant, header(headers, proof::HEADER)).map_err(refuse)?;
            let most = claims.max_streams.map_or(max_streams, |most| max_streams.min(u64::from(most).max(1)));
            let max_time =
                claims.max_seconds.map_or(settings.session, Duration::from_secs).min(settings.session);
            Ok(Admission {
                session: claims.sid.clone(),
                token: claims.token_sha256,
                host: grant.host().clone(),
                target: Some(claims.target.clone()),
                user: claims.user.clone(),
                max_streams: most as u32,
                same_address: is_yes(headers, headers::SAME_ADDRESS),
                profile: profile(headers),
                max_time,
                origins: claims.origin.iter().map(|origin| WebOrigin::received(origin)).collect(),
                remember: crate::protocol::grant::MAX_LIFETIME + *leeway + *leeway,
            })
        }
        Auth::Opaque(keys) => {
            let host: Option<HostId> = header(headers, headers::HOST).and_then(|host| host.parse().ok());
            let key = header(headers, headers::RELAY_KEY).map(|key| TokenHash::of(key.as_bytes()));
            let known = host.as_ref().and_then(|host| keys.get(host));
            // Hashes are compared: how long it takes says nothing about the key.
            let (Some(host), true) = (host, known.is_some() && known == key.as_ref()) else {
                return Err((Refusal::new(Code::RelayKey, "host or relay key is not known here"), None));
            };
            let token: Token = match bearer.parse() {
                Ok(token) => token,
                Err(_) => return Err((Refusal::new(Code::BadCommand, "not a token"), Some(host))),
            };
            let token = token.hash();
            let asked = number(headers, headers::MAX_SECONDS).map_or(settings.session, Duration::from_secs);
            Ok(Admission {
                session: token.session(),
                token,
                host,
                target: None,
                user: None,
                max_streams: max_streams as u32,
                same_address: is_yes(headers, headers::SAME_ADDRESS),
                profile: profile(headers),
                max_time: asked.min(settings.session),
                origins: vec![],
                remember: REMEMBER_OPAQUE,
            })
        }
    }
}

/// Refuses a grant that an earlier run of this program may have seen: what was used then is not remembered. The clock
/// of the platform that signed it may be ahead of ours by the leeway.
fn check_unseen(relay: &Relay, claims: &Claims, leeway: Duration) -> Result<(), Refusal> {
    let settled = unix(relay.started()).saturating_add(leeway.as_secs());
    if claims.iat > settled || claims.relay_run.as_ref() == Some(&relay.run) {
        return Ok(());
    }
    let wait = settled.saturating_sub(unix(SystemTime::now())) + 1;
    let why = "the relay has just started and cannot know whether this grant was used before";
    Err(Refusal::new(Code::RelayStarting, format!("{why}: ask for a new one in {wait} s")))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Agents of another version may say nothing, or have a word that is not known here.
fn profile(headers: &HeaderMap) -> Profile {
    match header(headers, headers::PROFILE) {
        Some(word) if word == Profile::Interactive.label() => Profile::Interactive,
        _ => Profile::default(),
    }
}

fn is_yes(headers: &HeaderMap, name: &str) -> bool {
    header(headers, name) == Some(headers::YES)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name)?.parse().ok()
}
