//! A session on the host: dials, parks, waits for the client, and starts its stream. As soon as a stream is linked, a
//! spare connection waits for the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span, debug_span};

use net::backoff::Backoff;
use net::socket::Socket;
use opener::TargetSession;
use protocol::audit::{Context, Event};
use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal};
use protocol::control::FromRelay;
use protocol::end::{Closing, End};
use protocol::plain::plain;
use websocket::connection::{CloseAction, IdleEnd, WebSocket};
use websocket::error::DialError;
use websocket::reader::Text;

use super::dial_auth::{DialAuth, Terms};
use super::places::Place;
use super::sessions::Session;
use super::state::State;
use super::stream::{Linked, Stream};
use super::verify::VerifiedStart;

/// How long the dial of a spare is tried.
const SPARE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest text of a relay or a proxy in a refusal, in bytes.
const MAX_CAUSE: usize = 400;

/// The close reason for a client that comes while all places are taken.
const NO_PLACE: &str = "all places are taken: try again when another stream has ended";

/// A session that waits at its relay for the client.
pub(crate) struct Parked {
    accepted: Accepted,
    websocket: WebSocket<Socket>,
}

/// An accepted start, and all that its streams share.
struct Accepted {
    state: Arc<State>,
    verified: Arc<VerifiedStart>,
    dial_auth: DialAuth,
    session: Session,
    /// What opens its target.
    target: Arc<TargetSession>,
    terms: Terms,
}

impl Parked {
    /// Dials the relay until the host is parked or the time is over.
    ///
    /// # Errors
    /// [`Code::RelayRefused`] or [`Code::RelayUnreachable`] with the reason, or [`Code::NoSession`] if it was stopped.
    pub(crate) async fn dial(
        state: &Arc<State>,
        (verified, dial_auth): (VerifiedStart, DialAuth),
        session: Session,
        target: TargetSession,
    ) -> Result<Parked, Refusal> {
        let permitted = target.permitted();
        let (streams, profile) = (permitted.streams, permitted.profile);
        let terms = Terms { streams, profile, same_address: permitted.same_address };
        let deadline = verified.deadline;
        let (verified, target) = (Arc::new(verified), Arc::new(target));
        let accepted = Accepted { state: state.clone(), verified, dial_auth, session, target, terms };
        let websocket = tokio::select! {
            websocket = accepted.dial(deadline) => websocket?,
            why = accepted.session.stop().wait() => {
                let message = format!("the session ended before the relay was reached: {}", why.words());
                return Err(Refusal::new(Code::NoSession, message));
            }
        };
        Ok(Parked { accepted, websocket })
    }

    pub(crate) fn session(&self) -> &str {
        &self.accepted.verified.request.session
    }

    /// Names the session in debug lines.
    pub(crate) fn span(&self) -> Span {
        self.accepted.verified.span()
    }

    /// Returns when the last stream of the session has ended.
    pub(crate) async fn run(self) {
        let Parked { accepted, websocket } = self;
        // What happens once is boxed: thousands of these wait for their only stream to end.
        let (linked, websocket) = match Box::pin(wait_for_client(websocket, accepted.unwanted())).await {
            Ok(client) => client,
            Err(closing) => {
                return accepted.refused(
                    &closing,
                    "no stream came about",
                    accepted.verified.request.params.clone(),
                );
            }
        };
        let ours = accepted.state.settings().session;
        let until = Instant::now() + accepted.verified.request.duration(ours);
        accepted.session.is_used();
        let mut streams = JoinSet::new();
        if !accepted.admit(linked, websocket, until, &mut streams) {
            return;
        }
        Box::pin(accepted.spares(&mut streams, until)).await;
        drop(accepted.dial_auth);
        all_ended(&mut streams).await;
    }
}

impl Accepted {
    /// Parks a spare as soon as a stream is linked, until the session has had all its streams.
    async fn spares(&self, streams: &mut JoinSet<()>, until: Instant) {
        for _ in 1..self.terms.streams {
            if self.state.stopping.is_cancelled() {
                return;
            }
            let deadline = Instant::now() + SPARE_DEADLINE;
            let spare = match self.dial(deadline).await {
                Ok(spare) => spare,
                // The relay also refuses if the session is over.
                Err(refusal) => {
                    return tracing::debug!("no spare: {refusal}");
                }
            };
            let unwanted = async {
                tokio::select! {
                    why = self.unwanted() => why,
                    () = all_ended(streams) => CloseFrame::new(End::SessionEnded, "the session is over"),
                }
            };
            let Ok((linked, websocket)) = wait_for_client(spare, unwanted).await else { return };
            self.admit(linked, websocket, until, streams);
        }
    }

    /// Begins the client's stream, or closes the client with a reason and returns false.
    fn admit(
        &self,
        linked: Linked,
        websocket: WebSocket<Socket>,
        until: Instant,
        streams: &mut JoinSet<()>,
    ) -> bool {
        let refusal = match self.state.places.take(self.target.permitted()) {
            Ok(place) => {
                // No child of the session's span, so that the journal has each field once.
                let span = debug_span!(
                    parent: None,
                    "stream",
                    session = self.verified.request.session,
                    stream = linked.stream
                );
                streams.spawn(self.stream(place, linked, until).run(websocket).instrument(span));
                return true;
            }
            Err(refusal) => refusal,
        };
        let closing = Closing::new(End::TooMany, refusal.message);
        self.refused(&closing, "no place for a client that came", self.verified.request.params.clone());
        let close = CloseAction::Send(CloseFrame::new(End::TooMany, NO_PLACE));
        self.state.tasks.spawn(websocket.finish(close).in_current_span());
        false
    }

    fn stream(&self, place: Place, linked: Linked, until: Instant) -> Stream {
        Stream {
            state: self.state.clone(),
            verified: self.verified.clone(),
            target: self.target.clone(),
            _place: place,
            stop: self.session.stop().clone(),
            until,
            linked,
        }
    }

    /// Resolves when a parked connection must stop waiting for its client.
    async fn unwanted(&self) -> CloseFrame {
        tokio::select! {
            why = self.session.stop().wait() => why,
            why = self.target.ended() => why,
            () = self.state.stopping.cancelled() => shutting_down(),
        }
    }

    fn refused(&self, closing: &Closing, what: &str, params: BTreeMap<String, String>) {
        let context = Context { params, ..self.verified.context(&self.state.settings().host) };
        let closing = Closing::new(closing.end, format!("{what}: {}", closing.reason));
        self.state.audit.report(context, Event::Refused(closing));
    }

    async fn dial(&self, deadline: Instant) -> Result<WebSocket<Socket>, Refusal> {
        let dialer = self.state.dialer();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
        loop {
            let headers = self.dial_auth.headers(self.terms);
            let dialled = dialer.dial_until(deadline, &self.dial_auth.relay, &headers, Text::Messages).await;
            let error = match dialled {
                Ok(dialled) => {
                    self.dial_auth.learn(&dialled.headers);
                    return Ok(dialled.websocket.apply_profile(self.terms.profile));
                }
                Err(error) => error,
            };
            let wait = backoff.wait_jittered();
            let is_last = !error.may_pass() || Instant::now() + wait >= deadline;
            if is_last || self.state.stopping.is_cancelled() {
                let code = match error {
                    DialError::Url(_) => Code::RelayNotAllowed,
                    DialError::Reach(_) | DialError::Barred(_) | DialError::Tls { .. } => {
                        Code::RelayUnreachable
                    }
                    DialError::Refused { .. } if error.may_pass() => Code::RelayUnreachable,
                    DialError::Refused { .. } => Code::RelayRefused,
                };
                let what = if code == Code::RelayUnreachable { "cannot reach the relay: " } else { "" };
                return Err(Refusal::new(code, plain(&format!("{what}{error}"), MAX_CAUSE)));
            }
            tracing::debug!("dial failed, next try in {wait:?}: {error}");
            sleep(wait).await;
        }
    }
}

/// The close reason when this program ends.
pub(crate) fn shutting_down() -> CloseFrame {
    CloseFrame::new(End::PeerLeft, "host is shutting down")
}

/// Waits until no stream is left. A panic in one does not affect the others.
async fn all_ended(streams: &mut JoinSet<()>) {
    while let Some(ended) = streams.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a stream's task failed: {error}");
        }
    }
}

/// Keeps a parked websocket alive until its client comes, or `unwanted` resolves.
async fn wait_for_client(
    mut websocket: WebSocket<Socket>,
    unwanted: impl Future<Output = CloseFrame>,
) -> Result<(Linked, WebSocket<Socket>), Closing> {
    let mut unwanted = std::pin::pin!(unwanted);
    let (closing, close_action) = loop {
        match websocket.wait_idle(&mut unwanted).await {
            IdleEnd::Text(text) => match serde_json::from_str(&text) {
                Ok(FromRelay::Linked { stream, peer, control }) => {
                    return Ok((Linked { stream, peer: peer.parse().ok(), control }, websocket));
                }
                // A newer relay may send messages that this version does not know.
                Err(_) => {}
            },
            IdleEnd::Done(why) => break (why.clone().into(), CloseAction::Send(why)),
            IdleEnd::Lost(closing, close_action) => break (closing, close_action),
        }
    };
    websocket.finish(close_action).await;
    Err(closing)
}
