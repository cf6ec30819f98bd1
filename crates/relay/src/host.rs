//! A host's dial: who it is, what it may do here, and how it is parked until a client claims it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tracing::{Instrument, debug, debug_span};

use http1::server::response::Response;
use protocol::audit::{Context, Event};
use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal};
use protocol::end::{Closing, End};
use protocol::grant::{Claims, unix};
use protocol::host::HostId;
use protocol::origin::WebOrigin;
use protocol::profile::Profile;
use protocol::token::{Token, TokenHash};
use protocol::{headers, proof};
use service::network::{self, SUBSCRIBER};
use websocket::connection::{CloseAction, IdleEnd, WebSocket};
use websocket::frame::Role;
use websocket::reader::Text;
use websocket::upgrade;

use super::config::Auth;
use super::metrics::GaugeGuard;
use super::refusal;
use super::rendezvous::{Admission, Parked, Secret};
use super::state::{HostSocket, State};

/// How long a session of simple mode is remembered after its end; its token has no expiry.
const REMEMBER_OPAQUE: Duration = Duration::from_secs(3600);

/// Answers a dial: with 101 once the host is parked, or with the reason why it is not.
pub(crate) fn dial(
    relay: &Arc<State>,
    mut request: hyper::Request<Incoming>,
    peer: std::net::IpAddr,
) -> Response {
    let is_test = request.headers().contains_key(headers::TEST);
    let refused = |refusal: Refusal, host: Option<HostId>| {
        if is_test && host.is_none() {
            return refusal::dial_refused(&refusal);
        }
        relay.metrics.refused_host(refusal.code.label());
        let is_logged = match &host {
            Some(host) => relay.dials.admits(host.clone()),
            None => relay.unknown_peers.admits(network::containing(peer, SUBSCRIBER)),
        };
        if is_logged {
            let context = Context { host, peer: Some(peer), ..Context::default() };
            let closing = Closing::new(End::NotAllowed, refusal.to_string());
            relay.audit.report(context, Event::Refused(closing));
        }
        refusal::dial_refused(&refusal)
    };
    if let Err(not) = upgrade::lost_on_the_way(&request) {
        return refusal::not_a_websocket(&not);
    }
    let admission = match admit(relay, request.headers()) {
        Ok(admission) => admission,
        Err((refusal, host)) => return refused(refusal, host),
    };
    // After the grant: a peer without one does not learn what else is wrong with its request.
    let handshake = match upgrade::Request::parse(&request) {
        Ok(handshake) => handshake,
        Err(not) => return refusal::not_a_websocket(&not),
    };
    if relay.stopping.is_cancelled() {
        return refused(Refusal::new(Code::Stopping, "relay is restarting"), Some(admission.host));
    }
    let host = admission.host.clone();
    let (secret, offered) = match secret(request.headers()) {
        Ok(secret) => secret,
        Err(refusal) => return refused(refusal, Some(host)),
    };
    let parked = match relay.rendezvous.park(admission, secret, Instant::now()) {
        Ok(parked) => parked,
        Err(refusal) => return refused(refusal, Some(host)),
    };
    let is_spare = parked.is_spare();
    if secret == Secret::Unknown && !is_spare {
        relay.metrics.hosts_without_secret.inc();
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let relay = relay.clone();
    let relay_tasks = relay.tasks.clone();
    let admission = parked.admission();
    let span = debug_span!(parent: None, "host", session = admission.session, host = %admission.host);
    let parking = async move {
        let held = GaugeGuard::new(&relay.metrics.hosts_parked);
        match upgrade::socket(upgraded).await {
            Ok((socket, early)) => {
                // The host has shown a grant: from now on pings decide when it is lost.
                socket.give_up_after(None);
                let websocket =
                    WebSocket::new(socket, &early, Role::Server, Text::Messages, relay.settings().websocket);
                park(&relay, parked, websocket, held).await;
            }
            Err(error) => debug!("host left during the handshake: {error:#}"),
        }
    };
    relay_tasks.spawn(parking.instrument(span));
    let mut response: Response = handshake.accept(None);
    response
        .headers_mut()
        .extend(offered.map(|secret| (HeaderName::from_static(headers::SESSION_SECRET), secret)));
    response
}

/// The session's secret in the dial, and a new one to return to the host if it asks for one.
fn secret(headers: &HeaderMap) -> Result<(Secret, Option<HeaderValue>), Refusal> {
    match header(headers, headers::SESSION_SECRET) {
        None => Ok((Secret::Unknown, None)),
        Some(headers::YES) => {
            let internal = |error: &dyn std::fmt::Display| Refusal::new(Code::Internal, error.to_string());
            let secret = Token::generate().map_err(|error| internal(&error))?;
            let value = HeaderValue::from_str(&secret.reveal()).map_err(|error| internal(&error))?;
            Ok((Secret::Offered(secret.hash()), Some(value)))
        }
        Some(shown) => Ok((Secret::Shown(TokenHash::from_secret(shown.as_bytes())), None)),
    }
}

/// Keeps a parked host alive until a client claims it or its time is over.
async fn park(relay: &State, mut parked: Parked<HostSocket>, mut websocket: HostSocket, held: GaugeGuard) {
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
    let ended = match websocket.wait_idle(claimed).await {
        IdleEnd::Done(Ok(claim)) => {
            drop(held);
            // The client that claimed it may have left meanwhile.
            match claim.hand_over(websocket) {
                Ok(()) => return,
                Err(returned) => {
                    websocket = returned;
                    let why = CloseFrame::new(End::PeerLeft, "the client left");
                    (why.clone().into(), CloseAction::Send(why))
                }
            }
        }
        IdleEnd::Done(Err(why)) => (why.clone().into(), CloseAction::Send(why)),
        IdleEnd::Text(_) => {
            let why = CloseFrame::new(End::ProtocolError, "a parked host has nothing to say");
            (why.clone().into(), CloseAction::Send(why))
        }
        IdleEnd::Lost(closing, close_action) => (closing, close_action),
    };
    drop(parked);
    let (closing, close_action) = ended;
    if !is_spare {
        let reason = format!("parked host left unlinked: {}", closing.reason);
        relay.audit.report(admission.context(), Event::Refused(Closing::new(closing.end, reason)));
    }
    websocket.finish(close_action).await;
}

/// Checks what the dial proves. A refusal comes with the host's id, if that much is proven.
fn admit(relay: &State, headers: &HeaderMap) -> Result<Admission, (Refusal, Option<HostId>)> {
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
            // A spare of a live session has the grant that the session began with, which may have expired.
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
                remember: protocol::grant::MAX_LIFETIME + *leeway + *leeway,
            })
        }
        Auth::Opaque(keys) => {
            let host: Option<HostId> = header(headers, headers::HOST).and_then(|host| host.parse().ok());
            let key = header(headers, headers::RELAY_KEY).map(|key| TokenHash::from_secret(key.as_bytes()));
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

/// Refuses a grant that may have been used in an earlier run of this program, which this run does not remember. The
/// clock of the platform that signed it may be ahead by `leeway`.
fn check_unseen(relay: &State, claims: &Claims, leeway: Duration) -> Result<(), Refusal> {
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

/// The profile that the host asks for. Agents of other versions may send none, or one that is not known here.
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
