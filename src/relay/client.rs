//! A client's knock: its token, its wait for the host, and its stream.
//!
//! A refused handshake is only "1006" to a browser's script, so clients are refused by upgrading first
//! and closing with a code and a reason.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{COOKIE, HeaderValue, ORIGIN, SET_COOKIE};
use hyper::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::daemon::audit::{Event, Record};
use crate::daemon::network::{self, SUBSCRIBER};
use crate::link::frame::Role;
use crate::link::leg::{Farewell, Leg, Parting};
use crate::link::pair;
use crate::link::reader::Text;
use crate::link::socket::Socket;
use crate::link::upgrade;
use crate::protocol::close::CloseFrame;
use crate::protocol::control::{FromRelay, SUBPROTOCOL, ToClient, to_text};
use crate::protocol::end::{Closing, End, Outcome};
use crate::protocol::headers::{SESSION_SUBPROTOCOL, STREAM_PATH, TEST, TOKEN_SUBPROTOCOL};
use crate::protocol::origin::WebOrigin;
use crate::protocol::token::{Token, TokenError, TokenHash};

use super::Relay;
use super::answer::{self, Answer};
use super::host::HostLeg;
use super::metrics::{Cut, Held};
use super::peer::{self, Peer};
use super::places::Place;
use super::rendezvous::{Linked, Stream, Visitor, Waiting};

/// How long a claimed host's leg may take from one task to the other, whatever `client_wait` is.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How long a client that is refused may take to read why. Nothing else was sent to it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Answers a client's request: 101 whenever it is a websocket; what comes of it is said by close codes. Until it is
/// linked, or gone, it has `place`.
pub fn knock(
    relay: &Arc<Relay>,
    mut request: hyper::Request<Incoming>,
    peer: Peer,
    place: Arc<Place>,
) -> Answer {
    let handshake = match upgrade::Request::of(&request) {
        Ok(handshake) => handshake,
        Err(not) => return answer::error(not.status, "not_a_websocket", not.message),
    };
    let offered = handshake.offered();
    let protocol = choose(offered).map(str::to_owned);
    let token = token(request.uri().path(), offered);
    let mut response: Answer = handshake.accept(protocol.as_deref());
    let visit = match token {
        Err(end) => Err(end),
        Ok(token) => {
            let Ok(visitor) = visitor(request.headers(), offered, &token, peer) else {
                return answer::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no randomness");
            };
            if !relay.rendezvous.is_client(&token.hash(), &visitor) {
                set_cookie(&mut response, relay, &token, &visitor.next);
            }
            Ok((token.hash(), visitor))
        }
    };
    let control = protocol.as_deref() == Some(SUBPROTOCOL);
    let is_test = request.headers().contains_key(TEST);
    let upgraded = hyper::upgrade::on(&mut request);
    let relay = relay.clone();
    let knocked = relay.clone();
    let meeting = async move {
        let (socket, early) = match upgrade::socket(upgraded).await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                debug!("client left during the handshake: {error:#}");
                return None;
            }
        };
        let text = if control { Text::Messages } else { Text::Bytes };
        let leg = Leg::new(socket, &early, Role::Server, text, knocked.settings().leg);
        let client = Client { relay: knocked, leg, control, address: peer.address };
        match visit {
            _ if is_test => client.leg.finish_within(Farewell::Say(End::NoHost.into()), FAREWELL).await,
            Ok((token, visitor)) => return client.meet(token, visitor).await,
            Err(end) => client.refuse(end.into(), None).await,
        }
        None
    };
    let relay = relay.clone();
    // What it takes to meet is bounded inside; the whole is bounded here, for a peer that does not even take pongs.
    let limit = relay.settings().client_wait + HAND_OVER + 2 * FAREWELL;
    relay.tasks.clone().spawn(async move {
        let met = place.hold(Box::pin(timeout(limit, meeting))).await;
        drop(place);
        match met {
            Some(Ok(Some((client, linked, key)))) => client.stream(linked, &key).await,
            Some(Ok(None)) => {}
            Some(Err(_)) => relay.metrics.cut(Cut::Slow),
            None => relay.metrics.cut(Cut::Crowded),
        }
    });
    response
}

struct Client {
    relay: Arc<Relay>,
    leg: Leg<Socket>,
    control: bool,
    address: IpAddr,
}

impl Client {
    /// Waits for the host; with it comes the session's key. Without one the client is refused, and nothing is left
    /// of it.
    async fn meet(mut self, token: TokenHash, visitor: Visitor) -> Option<(Client, Linked<HostLeg>, Token)> {
        let late = Instant::now() + self.relay.settings().client_wait;
        loop {
            let waiting = match self.relay.rendezvous.claim(token, visitor.clone()) {
                Ok(waiting) => waiting,
                Err(why) => {
                    self.refuse(why, Some(token)).await;
                    return None;
                }
            };
            let held = Held::one(&self.relay.metrics.clients_waiting);
            match self.leg.attend(self.relay.await_host(waiting, late)).await {
                Ok(Met::Host(linked)) => {
                    drop(held);
                    return Some((self, *linked, visitor.next));
                }
                Ok(Met::Vanished) => {}
                Ok(Met::Nobody(closing)) => {
                    self.refuse(closing, Some(token)).await;
                    return None;
                }
                Err((closing, farewell)) => {
                    self.refused(closing, farewell, Some(token)).await;
                    return None;
                }
            }
        }
    }

    /// Links the two. The first client of a session of several streams gets the key for the others.
    async fn stream(mut self, linked: Linked<HostLeg>, key: &Token) {
        let Linked { mut host, stream } = linked;
        let greeting = FromRelay::Linked {
            stream: stream.number(),
            peer: self.address.to_string(),
            control: self.control,
        };
        let relayed =
            Relayed { relay: self.relay.clone(), address: self.address, begun: Instant::now(), stream };
        if let Err(closing) = host.say(to_text(&greeting)).await {
            relayed.record(Event::Refused, |record| {
                record.end = Some(closing.end);
                record.reason = Some(closing.reason.into());
            });
            self.relay.metrics.refused_client(End::PeerLost);
            drop(relayed);
            return self.leg.finish(Farewell::Say(End::PeerLost.into())).await;
        }
        relayed.record(Event::Started, |_| {});
        if self.control && relayed.stream.begins_several() {
            // A client that takes nothing any more shows so when the two are linked.
            let _ = self.leg.say(to_text(&ToClient::Session { key: key.reveal() })).await;
        }
        let profile = relayed.stream.admission().profile;
        let stop = Box::pin(self.relay.clone().stop_at(relayed.stream.until()));
        let link = pair::link(host.suit(profile), self.leg.suit(profile), self.control, stop);
        // A task of its own: what it took to get here is not kept for as long as the stream lives.
        self.relay.tasks.spawn(relayed.run(Box::pin(link)));
    }

    /// Closes the client with a code, and records it.
    async fn refuse(self, why: CloseFrame, token: Option<TokenHash>) {
        let farewell = Farewell::Say(why.clone());
        self.refused(why.into(), farewell, token).await;
    }

    async fn refused(self, closing: Closing, farewell: Farewell, token: Option<TokenHash>) {
        self.relay.metrics.refused_client(closing.end);
        if self.relay.strangers.admits(network::of(self.address, SUBSCRIBER)) {
            Record {
                peer: Some(self.address.to_string()),
                token: token.map(|token| token.fingerprint()),
                end: Some(closing.end),
                reason: Some(closing.reason.into()),
                ..Record::new(Event::Refused)
            }
            .log();
        }
        self.leg.finish_within(farewell, FAREWELL).await;
    }
}

/// How moving bytes ended, and both sides.
type LinkEnded = (Outcome, Parting<Socket>, Parting<Socket>);

/// A linked stream, and all that is left to know about it.
struct Relayed {
    relay: Arc<Relay>,
    address: IpAddr,
    begun: Instant,
    stream: Stream<HostLeg>,
}

impl Relayed {
    /// Moves bytes to the end, and records it. What happens once is boxed, and what comes in is small:
    /// thousands of these are idle.
    async fn run(self, link: impl Future<Output = LinkEnded> + Unpin) {
        let held = Held::one(&self.relay.metrics.streams);
        let (outcome, host, client) = link.await;
        drop(held);
        self.relay.metrics.ended(&outcome);
        let lasted = self.begun.elapsed();
        self.record(Event::Ended, |record| {
            record.bytes_in = Some(outcome.bytes_in);
            record.bytes_out = Some(outcome.bytes_out);
            record.lasted = Some(lasted);
            record.end = Some(outcome.closing.end);
            record.reason = Some(outcome.closing.reason.into());
        });
        // The session may end now: its spares need not wait for the farewells.
        drop(self);
        Box::pin(async { tokio::join!(host.take_leave(), client.take_leave()) }).await;
    }

    fn record(&self, event: Event, fill: impl FnOnce(&mut Record)) {
        let admission = self.stream.admission();
        let mut record = Record {
            session: Some(admission.session.clone()),
            stream: Some(self.stream.number()),
            host: Some(admission.host.clone()),
            target: admission.target.clone(),
            user: admission.user.clone(),
            peer: Some(self.address.to_string()),
            token: Some(admission.token.fingerprint()),
            ..Record::new(event)
        };
        fill(&mut record);
        record.log();
    }
}

/// What came of waiting for a host.
enum Met {
    Host(Box<Linked<HostLeg>>),
    /// The host went away in the moment it was claimed.
    Vanished,
    Nobody(CloseFrame),
}

impl Relay {
    async fn await_host(&self, mut waiting: Waiting<HostLeg>, late: Instant) -> Met {
        let late = if waiting.is_met() { late.max(Instant::now() + HAND_OVER) } else { late };
        tokio::select! {
            biased;
            answer = waiting.answer() => match answer {
                Some(Ok(linked)) => Met::Host(Box::new(linked)),
                Some(Err(why)) => Met::Nobody(why),
                None => Met::Vanished,
            },
            () = sleep_until(late) => Met::Nobody(waiting.late().into()),
            () = self.stopping.cancelled() => Met::Nobody(End::RelayRestarting.into()),
        }
    }

    /// Resolves when a linked stream must end: its session's time is over, or the relay has drained.
    async fn stop_at(self: Arc<Relay>, until: Instant) -> CloseFrame {
        tokio::select! {
            () = sleep_until(until) => CloseFrame::new(End::SessionEnded, "the session's time is over"),
            () = self.drained.cancelled() => End::RelayRestarting.into(),
        }
    }
}

/// The subprotocol to echo: ours if it is offered, else the first that is not a secret in disguise.
fn choose(offered: &[String]) -> Option<&str> {
    let ours = offered.iter().find(|protocol| *protocol == SUBPROTOCOL);
    let is_key = |protocol: &String| protocol.starts_with(SESSION_SUBPROTOCOL);
    let other = offered.iter().find(|protocol| !is_key(protocol) && !protocol.starts_with(TOKEN_SUBPROTOCOL));
    // A browser that offered something must hear one of its own offers. A token is spent by this; a key is not.
    ours.or(other).or(offered.iter().find(|protocol| !is_key(protocol))).map(String::as_str)
}

fn token(path: &str, offered: &[String]) -> Result<Token, End> {
    let in_path = path.strip_prefix(STREAM_PATH).filter(|token| !token.is_empty());
    let in_protocol = || offered.iter().find_map(|protocol| protocol.strip_prefix(TOKEN_SUBPROTOCOL));
    let text = in_path.or_else(in_protocol).ok_or(End::TokenMalformed)?;
    text.parse().map_err(|_| End::TokenMalformed)
}

fn cookie_name(token: &Token) -> String {
    format!("stream_{}", token.hash().fingerprint())
}

/// Who knocks, and what it shows: the session's cookie, the session's key.
fn visitor(
    headers: &HeaderMap,
    offered: &[String],
    token: &Token,
    peer: Peer,
) -> Result<Visitor, TokenError> {
    let name = cookie_name(token);
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookies = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let keys = offered.iter().filter_map(|protocol| protocol.strip_prefix(SESSION_SUBPROTOCOL));
    Ok(Visitor {
        bucket: peer::bucket(peer.address),
        address: peer.own,
        shown: cookies.chain(keys).map(|secret| TokenHash::of(secret.as_bytes())).collect(),
        next: Token::generate()?,
        origin: headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).map(WebOrigin::received),
    })
}

fn set_cookie(response: &mut Answer, relay: &Relay, token: &Token, key: &Token) {
    // A page of another site may hold the websocket: with TLS the cookie must go cross-site, and browsers that keep
    // such cookies at all keep them apart for each site.
    let site = if relay.is_https() { "; SameSite=None; Secure; Partitioned" } else { "; SameSite=Lax" };
    for prefix in relay.settings().prefixes() {
        let cookie =
            format!("{}={}; Path={prefix}{STREAM_PATH}; HttpOnly{site}", cookie_name(token), key.reveal());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(offered: &[&str]) -> Vec<String> {
        offered.iter().map(|protocol| (*protocol).to_owned()).collect()
    }

    #[test]
    fn exactly_one_offer_is_echoed() {
        let cases: [(&[&str], Option<&str>); 8] = [
            (&[], None),
            (&["binary"], Some("binary")),
            (&["binary", "stream.v1"], Some("stream.v1")),
            (&["stream.token.abc", "base64"], Some("base64")),
            (&["stream.token.abc"], Some("stream.token.abc")),
            (&["stream.session.abc", "stream.v1"], Some("stream.v1")),
            (&["stream.session.abc", "binary"], Some("binary")),
            (&["stream.session.abc"], None),
        ];
        for (offered, echoed) in cases {
            assert_eq!(choose(&offers(offered)), echoed);
        }
    }

    #[test]
    fn a_token_comes_in_the_path_or_as_a_subprotocol() {
        let secret = Token::generate().unwrap();
        let text = secret.reveal();
        assert_eq!(token(&format!("/v1/stream/{text}"), &[]).unwrap(), secret);
        assert_eq!(token("/v1/stream/", &offers(&["x", &format!("stream.token.{text}")])).unwrap(), secret);
        assert_eq!(token("/v1/stream", &offers(&[&format!("stream.token.{text}")])).unwrap(), secret);
        for wrong in ["/v1/stream/", "/v1/stream/short", &format!("/v1/stream/{text}/x")] {
            assert_eq!(token(wrong, &[]).unwrap_err(), End::TokenMalformed);
        }
    }
}
