//! A client's connection: its token, its wait for the host, and its stream.
//!
//! A browser's script sees a refused handshake only as "1006", so a client that is refused is upgraded first, and
//! then closed with a code and a reason.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug, debug_span};

use http1::server::response::{self, Response};
use net::socket::Socket;
use protocol::audit::Event;
use protocol::close::CloseFrame;
use protocol::control::{FromRelay, SUBPROTOCOL, ToClient, to_text};
use protocol::end::{Closing, End};
use protocol::headers::TEST;
use protocol::token::{Token, TokenHash};
use stream::pair;
use websocket::connection::{CloseAction, EndedWebSocket, WebSocket};
use websocket::frame::Role;
use websocket::reader::Text;
use websocket::upgrade;

use super::metrics::{Cut, GaugeGuard};
use super::peer::Peer;
use super::refusal;
use super::relayed::Relayed;
use super::rendezvous::{ClientIdentity, Linked};
use super::slots::Slot;
use super::state::{HostSocket, State};
use super::waiting::{HAND_OVER, WaitEnd};

mod identity;

/// How long a refused client may take to read the reason. Nothing else was sent to it.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Answers a client's request: with 101 if it is a websocket, since close codes report all else. The client keeps
/// `slot` until it is linked or closed.
pub(crate) fn connect(
    relay: &Arc<State>,
    mut request: hyper::Request<Incoming>,
    peer: Peer,
    slot: Arc<Slot>,
) -> Response {
    let handshake = match upgrade::Request::parse(&request) {
        Ok(handshake) => handshake,
        Err(not) => return refusal::not_a_websocket(&not),
    };
    let offered = handshake.offered();
    let protocol = identity::choose(offered).map(str::to_owned);
    let token = identity::token(request.uri().path(), offered);
    let mut response: Response = handshake.accept(protocol.as_deref());
    let claim = match token {
        Err(end) => Err(end),
        Ok(token) => {
            let Ok(client) = identity::identity(request.headers(), offered, &token, peer) else {
                return response::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no randomness");
            };
            if !relay.rendezvous.is_client(&token.hash(), &client, Instant::now().into_std()) {
                identity::set_cookie(&mut response, relay, &token, &client.new_key);
            }
            Ok((token.hash(), client))
        }
    };
    let control = protocol.as_deref() == Some(SUBPROTOCOL);
    let is_test = request.headers().contains_key(TEST);
    if is_test {
        response.headers_mut().insert(TEST, HeaderValue::from_static(peer.forwarded));
    }
    let upgraded = hyper::upgrade::on(&mut request);
    let relay = relay.clone();
    let state = relay.clone();
    let finding = async move {
        let (socket, early) = match upgrade::socket(upgraded).await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                debug!("client left during the handshake: {error:#}");
                return None;
            }
        };
        let text = if control { Text::Messages } else { Text::Bytes };
        let websocket = WebSocket::new(socket, &early, Role::Server, text, state.settings().websocket);
        let client = Client { relay: state, websocket, control, address: peer.address };
        match claim {
            _ if is_test => {
                client.websocket.finish_within(CloseAction::Send(End::NoHost.into()), CLOSE_WAIT).await
            }
            Ok((token, identity)) => return client.find_host(token, identity).await,
            Err(end) => client.refuse(end.into(), None).await,
        }
        None
    };
    // The waits inside have their own bounds; this one is for a peer that does not even take pongs.
    let limit = relay.settings().client_wait + HAND_OVER + 2 * CLOSE_WAIT;
    relay.tasks.clone().spawn(async move {
        let found = slot.until_evicted(Box::pin(timeout(limit, finding))).await;
        drop(slot);
        match found {
            Some(Ok(Some((client, linked, key)))) => client.stream(linked, &key).await,
            Some(Ok(None)) => {}
            Some(Err(_)) => relay.metrics.cut(Cut::Slow),
            None => relay.metrics.cut(Cut::Crowded),
        }
    });
    response
}

/// What is left of host and client when their stream has ended.
type Sides = (EndedWebSocket<Socket>, EndedWebSocket<Socket>);

struct Client {
    relay: Arc<State>,
    websocket: WebSocket<Socket>,
    control: bool,
    address: IpAddr,
}

impl Client {
    /// Waits for the host, and returns it with the key for the session. `None`: the client was refused and closed.
    async fn find_host(
        mut self,
        token: TokenHash,
        identity: ClientIdentity,
    ) -> Option<(Client, Linked<HostSocket>, Token)> {
        let late = Instant::now() + self.relay.settings().client_wait;
        loop {
            let waiting =
                match self.relay.rendezvous.claim(token, identity.clone(), Instant::now().into_std()) {
                    Ok(waiting) => waiting,
                    Err(why) => {
                        self.refuse(why, Some(token)).await;
                        return None;
                    }
                };
            let waits = GaugeGuard::new(&self.relay.metrics.clients_waiting);
            match self.websocket.wait_unread(self.relay.await_host(waiting, late)).await {
                Ok(WaitEnd::Host(linked)) => {
                    drop(waits);
                    return Some((self, *linked, identity.new_key));
                }
                Ok(WaitEnd::HostLeft) => {}
                Ok(WaitEnd::Refused(closing)) => {
                    self.refuse(closing, Some(token)).await;
                    return None;
                }
                Err((closing, close_action)) => {
                    self.refused(closing, close_action, Some(token)).await;
                    return None;
                }
            }
        }
    }

    /// Links the two. The first client of a session of several streams gets the key for the others.
    async fn stream(mut self, linked: Linked<HostSocket>, key: &Token) {
        let Linked { mut host, stream } = linked;
        let greeting = FromRelay::Linked {
            stream: stream.number(),
            peer: self.address.to_string(),
            control: self.control,
        };
        let relayed =
            Relayed { relay: self.relay.clone(), address: self.address, begun: Instant::now(), stream };
        if let Err(closing) = host.send_text(to_text(&greeting)).await {
            relayed.report(Event::Refused(closing));
            self.relay.metrics.refused_client(End::PeerLost);
            drop(relayed);
            return self.websocket.finish(CloseAction::Send(End::PeerLost.into())).await;
        }
        relayed.report(Event::Started);
        if self.control && relayed.stream.begins_several() {
            // If the client takes nothing any more, the link finds out.
            let _ = self.websocket.send_text(to_text(&ToClient::Session { key: key.reveal() })).await;
        }
        let profile = relayed.stream.admission().profile;
        let stop = Box::pin(self.relay.clone().stop_at(relayed.stream.until().into()));
        let (host, client) = (host.apply_profile(profile), self.websocket.apply_profile(profile));
        let link = async move {
            let (outcome, host, client) = pair::link(host, client, self.control, stop).await;
            (outcome, (host, client))
        };
        // A task of its own, so that the state of the handshake is freed while the stream lives.
        let span = debug_span!(
            parent: None,
            "stream",
            session = relayed.stream.admission().session,
            stream = relayed.stream.number()
        );
        let run = relayed.run(Box::pin(link), async |(host, client): Sides| {
            tokio::join!(host.close(), client.close());
        });
        self.relay.tasks.spawn(run.instrument(span));
    }

    /// Closes the client with a code, and records it.
    async fn refuse(self, why: CloseFrame, token: Option<TokenHash>) {
        let close_action = CloseAction::Send(why.clone());
        self.refused(why.into(), close_action, token).await;
    }

    async fn refused(self, closing: Closing, close_action: CloseAction, token: Option<TokenHash>) {
        self.relay.client_refused(closing, self.address, token);
        self.websocket.finish_within(close_action, CLOSE_WAIT).await;
    }
}
