//! A session's life on the host: park, wait for the client, open the target, move bytes, record it;
//! and a spare connection for the next stream as soon as one is linked.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::daemon::audit::{Event, Record};
use crate::link::backoff::Backoff;
use crate::link::bridge::{AtEof, Heard, Local, bridge};
use crate::link::dial::DialError;
use crate::link::leg::{Farewell, Held, Leg};
use crate::link::reader::Text;
use crate::link::socket::Socket;
use crate::protocol::command::{Code, Refusal};
use crate::protocol::control::{FromClient, FromHost, FromRelay, to_text};
use crate::protocol::end::{Closing, End};

use super::Agent;
use super::allowlist::Permit;
use super::order::Order;
use super::sessions::Session;
use super::stop::Stop;
use super::target::{Exit, Opened, Window};

/// How long a process may take to say how it ended after its output has.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long the dial of a spare is tried: its session lives now.
const SPARE_DEADLINE: Duration = Duration::from_secs(10);

/// An order that was accepted and is parked at its relay.
pub struct Parked {
    agent: Arc<Agent>,
    order: Order,
    session: Session,
    permit: Permit,
    leg: Leg<Socket>,
    max_streams: u32,
}

impl Parked {
    /// Dials the relay for an order, until it is parked or its time is over.
    ///
    /// # Errors
    /// [`Code::RelayRefused`] or [`Code::RelayUnreachable`], with what the relay or the network says.
    pub async fn dial(
        agent: &Arc<Agent>,
        order: Order,
        session: Session,
        permit: Permit,
    ) -> Result<Parked, Refusal> {
        let most = permit.target().max_streams();
        let max_streams = order.max_streams.map_or(most, |wanted| wanted.clamp(1, most));
        let leg = agent.dial(&order, max_streams, order.deadline).await?;
        Ok(Parked { agent: agent.clone(), order, session, permit, leg, max_streams })
    }

    /// Lives until the last stream of the session has ended.
    pub async fn run(self) {
        let Parked { agent, order, session, permit, mut leg, max_streams } = self;
        let order = Arc::new(order);
        let mut streams = JoinSet::new();
        let mut first_permit = Some(permit);
        let mut until = None;
        for number in 1..=max_streams {
            let (linked, taken) = match wait_for_client(leg, session.stop()).await {
                Ok(linked) => linked,
                Err(closing) => {
                    if number == 1 {
                        agent.tell(refused(&agent, &order, &closing, "no stream came about"));
                    }
                    break;
                }
            };
            // A spare holds no place on the allowlist until there is a client for it.
            let permit = match first_permit.take() {
                Some(permit) => Ok(permit),
                None => agent.allowlist.permit(&order.target, &order.params, order.mode),
            };
            let settings = agent.settings();
            let most = order.max_time.map_or(settings.session, |asked| asked.min(settings.session));
            let until = *until.get_or_insert(Instant::now() + most);
            match permit {
                Ok(permit) => {
                    let stream = Stream {
                        agent: agent.clone(),
                        order: order.clone(),
                        permit,
                        stop: session.stop().clone(),
                        until,
                        linked,
                    };
                    streams.spawn(stream.run(taken));
                }
                Err(refusal) => {
                    let closing = Closing::new(End::TooMany, refusal.message);
                    agent.tell(refused(&agent, &order, &closing, "no place for another stream"));
                    agent.tasks.spawn(taken.finish(Farewell::Say(closing)));
                }
            }
            if number == max_streams {
                break;
            }
            match agent.dial(&order, max_streams, SystemTime::now() + SPARE_DEADLINE).await {
                Ok(spare) => leg = spare,
                // The session may be over already: then the relay is right to refuse.
                Err(refusal) => {
                    tracing::debug!(session = order.session, "no spare: {refusal}");
                    break;
                }
            }
        }
        while let Some(ended) = streams.join_next().await {
            if let Err(error) = ended {
                tracing::error!(session = order.session, "a stream's task failed: {error}");
            }
        }
    }
}

impl Agent {
    async fn dial(
        &self,
        order: &Order,
        max_streams: u32,
        deadline: SystemTime,
    ) -> Result<Leg<Socket>, Refusal> {
        let headers = order.headers(max_streams);
        let dialer = self.dialer();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(3));
        loop {
            let error = match dialer.dial(&order.relay, &headers, Text::Messages).await {
                Ok(dialled) => return Ok(dialled.leg),
                Err(error) => error,
            };
            if !error.may_pass() {
                let code = if matches!(error, DialError::Url(_)) {
                    Code::RelayNotAllowed
                } else {
                    Code::RelayRefused
                };
                return Err(Refusal::new(code, error.to_string()));
            }
            let wait = backoff.wait();
            if SystemTime::now() + wait >= deadline || self.stopping.is_cancelled() {
                return Err(Refusal::new(Code::RelayUnreachable, error.to_string()));
            }
            tracing::debug!(session = order.session, "dial failed, next try in {wait:?}: {error}");
            sleep(wait).await;
        }
    }
}

/// What the relay said when a client claimed the stream.
struct Linked {
    stream: u32,
    peer: String,
    control: bool,
}

/// Keeps a parked leg alive until its client is there.
async fn wait_for_client(mut leg: Leg<Socket>, stop: &Stop) -> Result<(Linked, Leg<Socket>), Closing> {
    let (closing, farewell) = match leg.hold(stop.wait()).await {
        Held::Text(text) => match serde_json::from_str(&text) {
            Ok(FromRelay::Linked { stream, peer, control }) => {
                return Ok((Linked { stream, peer, control }, leg));
            }
            Err(_) => {
                let closing = Closing::new(End::ProtocolError, "the relay said something unknown");
                (closing.clone(), Farewell::Say(closing))
            }
        },
        Held::Done(closing) => (closing.clone(), Farewell::Say(closing)),
        Held::Lost(closing, farewell) => (closing, farewell),
    };
    leg.finish(farewell).await;
    Err(closing)
}

fn refused(agent: &Agent, order: &Order, closing: &Closing, what: &str) -> Record {
    Record {
        end: Some(closing.end),
        reason: Some(format!("{what}: {}", closing.reason)),
        ..order.record(Event::Refused, &agent.settings().host)
    }
}

/// One stream: a client and an opened target.
struct Stream {
    agent: Arc<Agent>,
    order: Arc<Order>,
    permit: Permit,
    stop: Stop,
    until: Instant,
    linked: Linked,
}

impl Stream {
    async fn run(self, leg: Leg<Socket>) {
        // From here on only: a VM's only console is not held for a client that never comes.
        let opened = match self.permit.open().await {
            Ok(opened) => opened,
            Err(error) => {
                self.agent.tell(Record {
                    end: Some(error.end),
                    reason: Some(error.message),
                    ..self.record(Event::Refused)
                });
                // The owner's log has the details: addresses are not for clients.
                return leg.finish(Farewell::Say(error.end.into())).await;
            }
        };
        self.agent.tell(self.record(Event::Started));
        let begun = Instant::now();
        let Opened { output, input, resize, exit, half_close } = opened;
        let control = self.linked.control;
        let at_eof = if half_close && control { AtEof::HalfClose } else { AtEof::End };
        let hear = |text: &str| match serde_json::from_str(text) {
            Ok(FromClient::Eof) => Heard::Eof,
            Ok(FromClient::Ack { bytes }) => Heard::Ack(bytes),
            Ok(FromClient::Resize { cols, rows }) => {
                if let Some(resize) = &resize {
                    resize(Window { cols, rows });
                }
                Heard::Nothing
            }
            Ok(FromClient::Unknown) | Err(_) => Heard::Nothing,
        };
        let local = Local { output, input, at_eof, notes: None };
        let outcome = bridge(leg, local, hear, last_words(exit, control), self.ended()).await;
        self.agent.tell(Record {
            bytes_in: Some(outcome.bytes_in),
            bytes_out: Some(outcome.bytes_out),
            lasted: Some(begun.elapsed()),
            end: Some(outcome.closing.end),
            reason: Some(outcome.closing.reason.into()),
            ..self.record(Event::Ended)
        });
    }

    /// Resolves when the stream must end for a reason of ours.
    async fn ended(&self) -> Closing {
        tokio::select! {
            why = self.stop.wait() => why,
            why = self.permit.revoked().wait() => why,
            () = sleep_until(self.until) => Closing::new(End::SessionEnded, "the session's time is over"),
        }
    }

    fn record(&self, event: Event) -> Record {
        Record {
            stream: Some(self.linked.stream),
            peer: Some(self.linked.peer.clone()),
            mode: Some(self.permit.mode()),
            ..self.order.record(event, &self.agent.settings().host)
        }
    }
}

/// How a process ended, for a client that understands it. Waits for it also if nobody is told, so that the
/// process may end by itself.
async fn last_words(exit: Option<Exit>, control: bool) -> Option<String> {
    let status = tokio::time::timeout(LAST_WORDS, exit?).await.ok()?;
    control.then(|| to_text(&FromHost::Exit { code: status }))
}
