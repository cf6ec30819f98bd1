//! A session's life on the host: dial, park, wait for the client, start its stream; and a spare
//! connection for the next stream as soon as one is linked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::daemon::audit::{Event, Record};
use crate::link::backoff::Backoff;
use crate::link::dial::DialError;
use crate::link::leg::{Farewell, Held, Leg};
use crate::link::reader::Text;
use crate::link::socket::Socket;
use crate::protocol::close::CloseFrame;
use crate::protocol::command::{Code, Refusal};
use crate::protocol::control::FromRelay;
use crate::protocol::end::{Closing, End};
use crate::protocol::plain::plain;

use super::Agent;
use super::allowlist::{Permit, Place};
use super::order::{Order, Terms, Ticket};
use super::sessions::Session;
use super::stream::{Linked, Stream};

/// How long the dial of a spare is tried: its session lives now.
const SPARE_DEADLINE: Duration = Duration::from_secs(10);

/// The longest text of a relay or a proxy that is passed on, in bytes.
const MAX_CAUSE: usize = 400;

/// What a client hears that comes while other streams have all places.
const NO_PLACE: &str = "all places are taken: try again when another stream has ended";

/// An order that was accepted and is parked at its relay.
pub struct Parked {
    accepted: Accepted,
    permit: Permit,
    leg: Leg<Socket>,
}

/// An order that is being carried out.
struct Accepted {
    agent: Arc<Agent>,
    order: Arc<Order>,
    ticket: Ticket,
    session: Session,
    terms: Terms,
}

impl Parked {
    /// Dials the relay for an order, until it is parked or its time is over.
    ///
    /// # Errors
    /// [`Code::RelayRefused`] or [`Code::RelayUnreachable`], with what the relay or the network says.
    pub async fn dial(
        agent: &Arc<Agent>,
        (order, ticket): (Order, Ticket),
        session: Session,
        permit: Permit,
    ) -> Result<Parked, Refusal> {
        let target = permit.target();
        let most = target.session_streams;
        let streams = order.max_streams.map_or(most, |wanted| wanted.clamp(1, most));
        let terms = Terms { streams, profile: target.profile, same_address: target.same_address };
        let deadline = order.deadline;
        let order = Arc::new(order);
        let accepted = Accepted { agent: agent.clone(), order, ticket, session, terms };
        let leg = tokio::select! {
            leg = accepted.dial(deadline) => leg?,
            why = accepted.session.stop().wait() => {
                let message = format!("the session ended before the relay was reached: {}", why.words());
                return Err(Refusal::new(Code::NoSession, message));
            }
        };
        Ok(Parked { accepted, permit, leg })
    }

    /// Lives until the last stream of the session has ended.
    pub async fn run(self) {
        let Parked { accepted, permit, leg } = self;
        let unwanted = async {
            tokio::select! {
                why = accepted.unwanted() => why,
                why = permit.revoked().wait() => why,
            }
        };
        // What happens once is boxed: thousands of these wait for their only stream to end.
        let (linked, leg) = match Box::pin(wait_for_client(leg, unwanted)).await {
            Ok(client) => client,
            Err(closing) => {
                return accepted.refused(&closing, "no stream came about", accepted.order.params.clone());
            }
        };
        let ours = accepted.agent.settings().session;
        let until = Instant::now() + accepted.order.max_time.map_or(ours, |asked| asked.min(ours));
        accepted.session.is_used();
        let mut streams = JoinSet::new();
        if !accepted.admit(Ok(permit), linked, leg, until, &mut streams) {
            return;
        }
        Box::pin(accepted.spares(&mut streams, until)).await;
        drop(accepted.ticket);
        all_ended(&mut streams).await;
    }
}

impl Accepted {
    /// Parks a spare as soon as a stream is linked, until the session has all that it may have.
    async fn spares(&self, streams: &mut JoinSet<()>, until: Instant) {
        for _ in 1..self.terms.streams {
            if self.agent.stopping.is_cancelled() {
                return;
            }
            let deadline = Instant::now() + SPARE_DEADLINE;
            let spare = match self.dial(deadline).await {
                Ok(spare) => spare,
                // The session may be over already: then the relay is right to refuse.
                Err(refusal) => {
                    return tracing::debug!(session = self.order.session, "no spare: {refusal}");
                }
            };
            let unwanted = async {
                tokio::select! {
                    why = self.unwanted() => why,
                    () = all_ended(streams) => CloseFrame::new(End::SessionEnded, "the session is over"),
                }
            };
            let Ok((linked, leg)) = wait_for_client(spare, unwanted).await else { return };
            let permit = self.agent.allowlist.permit(&self.order.target, &self.order.params, self.order.mode);
            self.admit(permit, linked, leg, until, streams);
        }
    }

    /// Gives a client that has come its place, and begins its stream; else the client is told, and false.
    fn admit(
        &self,
        permit: Result<Permit, Refusal>,
        linked: Linked,
        leg: Leg<Socket>,
        until: Instant,
        streams: &mut JoinSet<()>,
    ) -> bool {
        let refusal = match permit.and_then(Permit::take_place) {
            Ok(place) => {
                streams.spawn(self.stream(place, linked, until).run(leg));
                return true;
            }
            Err(refusal) => refusal,
        };
        let (end, words) = match refusal.code {
            Code::Busy => (End::TooMany, NO_PLACE),
            _ => (End::NotAllowed, End::NotAllowed.reason()),
        };
        // A reload may have brought rules that the parameters break: then they are not repeated.
        let params = match refusal.code {
            Code::ParamsNotAllowed | Code::TargetNotAllowed => BTreeMap::new(),
            _ => self.order.params.clone(),
        };
        self.refused(&Closing::new(end, refusal.message), "no place for a client that came", params);
        self.agent.tasks.spawn(leg.finish(Farewell::Say(CloseFrame::new(end, words))));
        false
    }

    fn stream(&self, place: Place, linked: Linked, until: Instant) -> Stream {
        Stream {
            agent: self.agent.clone(),
            order: self.order.clone(),
            place,
            stop: self.session.stop().clone(),
            until,
            linked,
        }
    }

    /// Resolves when a parked connection is not to wait for its client any longer.
    async fn unwanted(&self) -> CloseFrame {
        tokio::select! {
            why = self.session.stop().wait() => why,
            () = self.agent.stopping.cancelled() => shutting_down(),
        }
    }

    fn refused(&self, closing: &Closing, what: &str, params: BTreeMap<String, String>) {
        self.agent.tell(Record {
            params,
            end: Some(closing.end),
            reason: Some(format!("{what}: {}", closing.reason)),
            ..self.order.record(Event::Refused, &self.agent.settings().host)
        });
    }

    async fn dial(&self, deadline: Instant) -> Result<Leg<Socket>, Refusal> {
        let order = &self.order;
        let dialer = self.agent.dialer();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
        loop {
            let headers = self.ticket.headers(self.terms);
            let dialled = dialer.dial_until(deadline, &self.ticket.relay, &headers, Text::Messages).await;
            let error = match dialled {
                Ok(dialled) => {
                    self.ticket.learn(&dialled.headers);
                    return Ok(dialled.leg.suit(self.terms.profile));
                }
                Err(error) => error,
            };
            let wait = backoff.wait();
            let is_last = !error.may_pass() || Instant::now() + wait >= deadline;
            if is_last || self.agent.stopping.is_cancelled() {
                let code = match error {
                    DialError::Url(_) => Code::RelayNotAllowed,
                    DialError::Reach(_) | DialError::Barred(_) => Code::RelayUnreachable,
                    DialError::Refused { .. } if error.may_pass() => Code::RelayUnreachable,
                    DialError::Refused { .. } => Code::RelayRefused,
                };
                let what = if code == Code::RelayUnreachable { "cannot reach the relay: " } else { "" };
                return Err(Refusal::new(code, plain(&format!("{what}{error}"), MAX_CAUSE)));
            }
            tracing::debug!(session = order.session, "dial failed, next try in {wait:?}: {error}");
            sleep(wait).await;
        }
    }
}

/// What clients are told when this program ends.
pub fn shutting_down() -> CloseFrame {
    CloseFrame::new(End::PeerLeft, "host is shutting down")
}

/// Waits until no stream is left. A panic in one is its own affair.
async fn all_ended(streams: &mut JoinSet<()>) {
    while let Some(ended) = streams.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a stream's task failed: {error}");
        }
    }
}

/// Keeps a parked leg alive until its client is there, or `unwanted` says why none is waited for.
async fn wait_for_client(
    mut leg: Leg<Socket>,
    unwanted: impl Future<Output = CloseFrame>,
) -> Result<(Linked, Leg<Socket>), Closing> {
    let mut unwanted = std::pin::pin!(unwanted);
    let (closing, farewell) = loop {
        match leg.hold(&mut unwanted).await {
            Held::Text(text) => match serde_json::from_str(&text) {
                Ok(FromRelay::Linked { stream, peer, control }) => {
                    return Ok((Linked { stream, peer: peer.parse().ok(), control }, leg));
                }
                // A newer relay may have more to say than we understand.
                Err(_) => {}
            },
            Held::Done(why) => break (why.clone().into(), Farewell::Say(why)),
            Held::Lost(closing, farewell) => break (closing, farewell),
        }
    };
    leg.finish(farewell).await;
    Err(closing)
}
