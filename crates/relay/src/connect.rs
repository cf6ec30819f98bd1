//! `CONNECT TOKEN:PORT`: the bytes of a session as they are, for viewers that know a proxy and no websocket.
//!
//! The name is only ever a token. Nothing here dials, and no address leads anywhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::PROXY_AUTHORIZATION;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, StatusCode, Uri};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug_span};

use http1::server::response::{self, Response};
use net::socket::Socket;
use protocol::audit::Event;
use protocol::close::CloseFrame;
use protocol::control::{FromRelay, to_text};
use protocol::end::{Closing, End};
use protocol::token::{Token, TokenError, TokenHash};
use protocol::viewer_file;
use service::network::{self, SUBSCRIBER};
use websocket::connection::CloseAction;
use websocket::upgrade;

use super::metrics::{Cut, GaugeGuard};
use super::page_origin;
use super::peer::Peer;
use super::refusal;
use super::relayed::Relayed;
use super::rendezvous::{ClientIdentity, Linked};
use super::slots::Slot;
use super::state::{HostSocket, State};
use super::waiting::WaitEnd;
use bridged::Sides;
use watch::LEFT;

mod bridged;
mod records;
mod spice;
mod watch;

/// How long a client may take to read the answer, and to send its first bytes where these are looked at.
const OPENING_WAIT: Duration = Duration::from_secs(10);

const NOT_A_PROXY: CloseFrame = CloseFrame::new(
    End::TokenMalformed,
    "this is no proxy: CONNECT takes the token of a session and any port, and never an address",
);

const NOT_A_SECRET: CloseFrame =
    CloseFrame::new(End::BadRequest, "Proxy-Authorization is not Basic with a secret of 43 characters");

const SECOND_VIEWER: CloseFrame =
    CloseFrame::new(End::TokenUsed, "token already used: a second viewer, or not SPICE, in a live session");

const PLAIN_HTTP: &str = "CONNECT without TLS is for this machine only, since the token would travel in clear: use \
                          https:// for the proxy, or set connect.allow_plaintext = true";

/// Answers CONNECT: with 200 once a host is there, else with the reason. The client keeps `slot` until it is linked.
/// `from` is the other end of the connection, which may be a proxy.
pub(crate) async fn connect(
    relay: &Arc<State>,
    mut request: hyper::Request<Incoming>,
    from: IpAddr,
    peer: Peer,
    slot: Arc<Slot>,
) -> Response {
    if !relay.has_tls() && !from.to_canonical().is_loopback() && !relay.settings().plaintext_connect {
        return response::error(StatusCode::FORBIDDEN, "plain_http", PLAIN_HTTP);
    }
    let refused = |why: CloseFrame, token: Option<TokenHash>| {
        let response = refusal::client_refused(&why);
        relay.client_refused(why.into(), peer.address, token);
        response
    };
    let Some(token) = token(request.uri()) else { return refused(NOT_A_PROXY, None) };
    let token = token.hash();
    let identity = match identity(request.headers(), peer) {
        Ok(identity) => identity,
        Err(TokenError::NoRandomness) => {
            return response::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no randomness");
        }
        Err(_) => return refused(NOT_A_SECRET, Some(token)),
    };
    let viewer = Viewer { relay: relay.clone(), address: peer.address, token };
    let upgraded = hyper::upgrade::on(&mut request);
    // Not claimed yet: a host dials no more for a session of which a spare was claimed in vain.
    match relay.rendezvous.admits_later(&token, &identity, Instant::now().into_std()) {
        Some(Err(why)) => return refused(why, Some(token)),
        Some(Ok(())) => {
            relay.tasks.spawn(viewer.join(upgraded, identity, slot));
            return Response::default();
        }
        None => {}
    }
    let found = {
        let mut leaving = Leaving { viewer: &viewer, is_answered: false };
        let found = viewer.find_host(identity).await;
        leaving.is_answered = true;
        found
    };
    match found {
        Ok(linked) => {
            relay.tasks.spawn(viewer.begin(upgraded, linked, slot));
            Response::default()
        }
        Err(why) => refused(why, Some(token)),
    }
}

/// The token in the authority of a request. `None` for everything else, such as a real host's name.
fn token(uri: &Uri) -> Option<Token> {
    let authority = uri.authority().filter(|_| uri.scheme().is_none() && uri.path_and_query().is_none())?;
    // Not `Authority::host`, which leaves a user out.
    let (name, port) = authority.as_str().rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    Token::from_host(name).ok()
}

/// Who the client is. Its secret becomes the session's key if it is the first, and is what later clients show.
///
/// # Errors
/// [`TokenError::Malformed`] if it shows anything but a secret.
fn identity(headers: &HeaderMap, peer: Peer) -> Result<ClientIdentity, TokenError> {
    let secret = match headers.get(PROXY_AUTHORIZATION) {
        None => None,
        Some(shown) => Some(viewer_file::secret(shown.to_str().map_err(|_| TokenError::Malformed)?)?),
    };
    Ok(ClientIdentity {
        network: network::containing(peer.address, SUBSCRIBER),
        address: peer.own,
        shown: secret.iter().map(Token::hash).collect(),
        new_key: secret.map_or_else(Token::generate, Ok)?,
        origin: page_origin::of(headers),
    })
}

/// A client that shows a token.
struct Viewer {
    relay: Arc<State>,
    address: IpAddr,
    token: TokenHash,
}

/// Records a client that leaves while it waits: its request is dropped then.
struct Leaving<'a> {
    viewer: &'a Viewer,
    is_answered: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.viewer.refused(End::PeerLeft.into());
        }
    }
}

impl Viewer {
    async fn find_host(&self, identity: ClientIdentity) -> Result<Linked<HostSocket>, CloseFrame> {
        let relay = &self.relay;
        let late = Instant::now() + relay.settings().client_wait;
        loop {
            let waiting = relay.rendezvous.claim(self.token, identity.clone(), Instant::now().into_std())?;
            let _waits = GaugeGuard::new(&relay.metrics.clients_waiting);
            match relay.await_host(waiting, late).await {
                WaitEnd::Host(linked) => return Ok(*linked),
                WaitEnd::HostLeft => {}
                WaitEnd::Refused(why) => return Err(why),
            }
        }
    }

    /// The first connection of a session: it has its host.
    async fn begin(self, upgraded: OnUpgrade, linked: Linked<HostSocket>, slot: Arc<Slot>) {
        // A client that waited beside the first one is not looked at before.
        let is_first = linked.stream.number() == 1;
        match self.opening(upgraded, is_first, slot).await {
            Ok((socket, early)) => self.link(socket, early, linked).await,
            Err(why) => {
                self.refused(why.into());
                linked.host.finish(CloseAction::Send(LEFT)).await;
            }
        }
    }

    /// A later connection of a live session: it gets a host if it is a channel of the viewer that is there.
    async fn join(self, upgraded: OnUpgrade, identity: ClientIdentity, slot: Arc<Slot>) {
        let found = match self.opening(upgraded, false, slot).await {
            Ok(opened) => self.find_host(identity).await.map(|linked| (opened, linked)),
            Err(why) => Err(why),
        };
        match found {
            Ok(((socket, early), linked)) => self.link(socket, early, linked).await,
            Err(why) => self.refused(why.into()),
        }
    }

    /// Takes the connection over from HTTP, within the limits of a client that is not linked.
    async fn opening(
        &self,
        upgraded: OnUpgrade,
        is_first: bool,
        slot: Arc<Slot>,
    ) -> Result<(Socket, Bytes), CloseFrame> {
        match slot.until_evicted(timeout(OPENING_WAIT, opening(upgraded, is_first))).await {
            Some(Ok(opened)) => opened,
            Some(Err(_)) => {
                self.relay.metrics.cut(Cut::Slow);
                Err(LEFT)
            }
            None => {
                self.relay.metrics.cut(Cut::Crowded);
                Err(End::TooMany.into())
            }
        }
    }

    fn refused(&self, why: Closing) {
        self.relay.client_refused(why, self.address, Some(self.token));
    }

    /// Links the two. The host takes the client for one that speaks `stream.v1`, so that it reports the end of its bytes.
    async fn link(self, socket: Socket, early: Bytes, linked: Linked<HostSocket>) {
        let Viewer { relay, address, .. } = self;
        let Linked { mut host, stream } = linked;
        let greeting =
            FromRelay::Linked { stream: stream.number(), peer: address.to_string(), control: true };
        let relayed = Relayed { relay: relay.clone(), address, begun: Instant::now(), stream };
        if let Err(closing) = host.send_text(to_text(&greeting)).await {
            relayed.report(Event::Refused(closing));
            relay.metrics.refused_client(End::PeerLost);
            return;
        }
        relayed.report(Event::Started);
        let admission = relayed.stream.admission().clone();
        let span = debug_span!(
            parent: None,
            "stream",
            session = admission.session,
            stream = relayed.stream.number()
        );
        let stop = Box::pin(relay.clone().stop_at(relayed.stream.until().into()));
        socket.apply_profile(admission.profile);
        socket.expect_life(relay.settings().websocket.write_stall);
        let link = bridged::link(host.apply_profile(admission.profile), socket, early, stop);
        // A task of its own, so that the state of the request is freed while the stream lives.
        relay.tasks.spawn(relayed.run(Box::pin(link), Sides::close).instrument(span));
    }
}

/// The connection, and what was read from it. A viewer of a live session opens one more of its channels there: another
/// viewer that shows the same file would throw the first one out.
async fn opening(upgraded: OnUpgrade, is_first: bool) -> Result<(Socket, Bytes), CloseFrame> {
    let (mut socket, early) = upgrade::socket(upgraded).await.map_err(|_| LEFT)?;
    if is_first {
        return Ok((socket, early));
    }
    let mut bytes = early.to_vec();
    while bytes.len() < spice::OPENING {
        if socket.read_buf(&mut bytes).await.map_err(|_| LEFT)? == 0 {
            return Err(LEFT);
        }
    }
    match spice::is_of_known_viewer(&bytes) {
        true => Ok((socket, bytes.into())),
        false => Err(SECOND_VIEWER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_a_name_here() {
        let secret = Token::generate().unwrap();
        for name in [secret.reveal_as_host(), secret.reveal(), secret.reveal_as_host().to_ascii_uppercase()] {
            for port in [0, 1, 5900, 65535] {
                assert_eq!(token(&format!("{name}:{port}").parse().unwrap()), Some(secret.clone()));
            }
        }
        let name = secret.reveal();
        for not in [
            "169.254.169.254:80",
            "example.com:443",
            "localhost:22",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            &name,
            &format!("{name}:65536"),
            &format!("{name}:x"),
            &format!("user@{name}:1"),
            &format!("{name}@example.com:80"),
            &format!("{name}.example.com:80"),
            &format!("http://{name}:1/"),
            &format!("/{name}:1"),
            "*",
        ] {
            if let Ok(uri) = not.parse() {
                assert_eq!(token(&uri), None, "{not}");
            }
        }
    }
}
