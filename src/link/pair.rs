//! Two websockets linked: what the relay does with a host and a client.
//!
//! Two pumps, one each way, each with one reading and one writing half: output that is stuck
//! never blocks what is typed.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep_until, timeout};

use super::leg::{Farewell, Halt, Leg, Parting, code_of, cut_off, farewell_after, from_peer, silent};
use super::pulse::{Beat, Pulse};
use super::reader::{Event, ReadError, Reader};
use super::writer::{WriteError, Writer};
use crate::protocol::close::CloseFrame;
use crate::protocol::end::{Closing, End, Outcome};

/// Bytes after which a busy stream lets others run, or one piece where that is more.
pub(super) const TURN: usize = 128 * 1024;

/// Moves bytes between a host and a client until one of them ends or `stop` says so. Both are still owed
/// their farewell then. Control messages of the host reach the client only if it speaks `stream.v1`.
#[allow(clippy::manual_async_fn, reason = "an async fn holds each argument twice, and thousands are idle")]
pub fn link<H, C>(
    mut host: Leg<H>,
    mut client: Leg<C>,
    client_speaks_control: bool,
    stop: impl Future<Output = CloseFrame>,
) -> impl Future<Output = (Outcome, Parting<H>, Parting<C>)>
where
    H: AsyncRead + AsyncWrite,
    C: AsyncRead + AsyncWrite,
{
    async move {
        let (bytes_in, bytes_out) = (AtomicU64::new(0), AtomicU64::new(0));
        let halt = Halt::default();
        let (why, for_host, for_client) = {
            let mut inward = Pump {
                from: &mut client.reader,
                from_pulse: &client.pulse,
                from_client: true,
                to: &mut host.writer,
                to_pulse: &host.pulse,
                beat: Beat::every(host.limits.ping_interval),
                pass_text: true,
                count: &bytes_in,
                halt: &halt,
            };
            let mut outward = Pump {
                from: &mut host.reader,
                from_pulse: &host.pulse,
                from_client: false,
                to: &mut client.writer,
                to_pulse: &client.pulse,
                beat: Beat::every(client.limits.ping_interval),
                pass_text: client_speaks_control,
                count: &bytes_out,
                halt: &halt,
            };
            let (mut inward, mut outward) = (pin!(inward.run()), pin!(outward.run()));
            let first = tokio::select! {
                why = stop => Err(why),
                ended = &mut inward => Ok((ended, true)),
                ended = &mut outward => Ok((ended, false)),
            };
            let (host_wait, client_wait) = (host.limits.close_wait, client.limits.close_wait);
            match first {
                Ok((ended, true)) => {
                    let (why, from, to) = Box::pin(settle(ended, outward, &halt, client_wait)).await;
                    (why, to, from)
                }
                Ok((ended, false)) => Box::pin(settle(ended, inward, &halt, host_wait)).await,
                Err(why) => {
                    halt.ask(Some(&why));
                    let (inward, outward) = Box::pin(async {
                        tokio::join!(timeout(host_wait, inward), timeout(client_wait, outward))
                    })
                    .await;
                    let say = Farewell::Say(why.clone());
                    (why.into(), known(say.clone(), outward.ok()), known(say, inward.ok()))
                }
            }
        };
        let outcome =
            Outcome { bytes_in: bytes_in.into_inner(), bytes_out: bytes_out.into_inner(), closing: why };
        (outcome, Parting { leg: host, farewell: for_host }, Parting { leg: client, farewell: for_client })
    }
}

/// Brings the other pump to its end after one has ended: why, and how to take leave of the two
/// sides of the first.
async fn settle(
    first: Ended,
    other: impl Future<Output = Ended>,
    halt: &Halt,
    wait: Duration,
) -> (Closing, Farewell, Farewell) {
    if first.from == Farewell::Gone {
        return (first.why, first.from, first.to);
    }
    // A side that takes no more may have said why, and have sent bytes before that: they come first.
    if !first.broken {
        halt.ask(None);
    }
    match timeout(wait, other).await {
        Ok(other) if first.broken => (other.why, other.to, other.from),
        // Both sides closed at once: the host's reason is the better one.
        Ok(other) if first.from_client && matches!(other.from, Farewell::Echo(_)) => {
            (other.why, first.from, other.from)
        }
        other => (first.why, first.from, known(first.to, other.ok())),
    }
}

/// How to take leave of a side, where the pump that reads it may know better by now.
fn known(decided: Farewell, reading: Option<Ended>) -> Farewell {
    match reading.map(|reading| reading.from) {
        Some(known @ (Farewell::Echo(_) | Farewell::Gone)) => known,
        _ => decided,
    }
}

struct Pump<'a, R, W> {
    from: &'a mut Reader<R>,
    from_pulse: &'a Pulse,
    from_client: bool,
    to: &'a mut Writer<W>,
    to_pulse: &'a Pulse,
    /// When to ping the side that is written to.
    beat: Beat,
    pass_text: bool,
    count: &'a AtomicU64,
    halt: &'a Halt,
}

/// How one direction ended, and how to take leave of its two sides.
struct Ended {
    why: Closing,
    from_client: bool,
    from: Farewell,
    to: Farewell,
    /// The side that is written to failed; what it sent before may still be readable.
    broken: bool,
}

enum Next<'a> {
    Halt(Option<&'a CloseFrame>),
    Pong(Vec<u8>),
    Beat,
    Event(Result<Event<'a>, ReadError>),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<'_, R, W> {
    /// What happens seldom is boxed: the state of this future is there twice in every stream.
    async fn run(&mut self) -> Ended {
        let mut due = pin!(sleep_until(self.beat.due()));
        let mut turn = 0;
        loop {
            self.from_pulse.listening(true);
            let next = tokio::select! {
                biased;
                closing = self.halt.asked() => Next::Halt(closing),
                payload = self.to_pulse.owed() => Next::Pong(payload),
                // Before the bytes: a flood of them must not keep the ping from going out.
                () = &mut due => Next::Beat,
                event = self.from.next(self.from_pulse) => Next::Event(event),
            };
            // While we write, nobody reads: silence proves nothing then.
            self.from_pulse.listening(false);
            let written = match next {
                Next::Halt(frame) => {
                    if let Some(frame) = frame {
                        // If it cannot be sent, taking leave finds that out too.
                        let _ = Box::pin(self.to.close(frame)).await;
                    }
                    // Who asked knows why.
                    return self.ended(End::PeerLeft.into(), None, None);
                }
                Next::Pong(payload) => Box::pin(self.to.pong(payload)).await,
                Next::Beat => {
                    if !self.to_pulse.beat() {
                        let why = lost(!self.from_client, silent());
                        return self.ended(why, None, Some(Farewell::Gone));
                    }
                    self.beat.sent();
                    due.as_mut().reset(self.beat.due());
                    Box::pin(self.to.ping()).await
                }
                Next::Event(Ok(Event::Bytes(bytes))) => {
                    turn += bytes.len();
                    self.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    let written = self.to.bytes(bytes).await;
                    if self.to.has_waited() {
                        self.from.spoilt();
                    }
                    if turn >= TURN {
                        turn = 0;
                        tokio::task::yield_now().await;
                    }
                    written
                }
                Next::Event(Ok(Event::Text(text))) if self.pass_text => Box::pin(self.to.text(text)).await,
                Next::Event(Ok(Event::Text(_))) => Ok(()),
                Next::Event(Ok(Event::Close(close))) => {
                    let echo = Farewell::Echo(code_of(&close));
                    // Only a host's code means something to the other side.
                    let (why, told) = if self.from_client {
                        let left = CloseFrame::new(End::PeerLeft, "the client left");
                        (left.clone().into(), left)
                    } else {
                        let why = from_peer(close);
                        let told = CloseFrame::by_host(&why);
                        (
                            if why.end == End::TargetEnded {
                                Closing { end: told.end(), ..why }
                            } else {
                                why
                            },
                            told,
                        )
                    };
                    return Box::pin(self.pass_on(why, echo, told)).await;
                }
                Next::Event(Ok(Event::Eof)) => {
                    let why = lost(self.from_client, cut_off());
                    return Box::pin(self.pass_on(why, Farewell::Gone, loss(self.from_client))).await;
                }
                Next::Event(Err(error)) => {
                    let why = lost(self.from_client, error.into());
                    let from = farewell_after(&why);
                    return Box::pin(self.pass_on(why, from, loss(self.from_client))).await;
                }
            };
            if let Err(error) = written {
                let broken = matches!(error, WriteError::Io(_));
                let why = lost(!self.from_client, error.into());
                let to = farewell_after(&why);
                return Ended { broken, ..self.ended(why, None, Some(to)) };
            }
        }
    }

    /// The reading side ended, and everything it sent is out: tells the other side at once.
    async fn pass_on(&mut self, why: Closing, from: Farewell, told: CloseFrame) -> Ended {
        let to = match self.to.close(&told).await {
            Ok(()) => Farewell::Say(told),
            Err(_) => Farewell::Gone,
        };
        self.ended(why, Some(from), Some(to))
    }

    /// A side without a farewell of its own is told what became of the other one.
    fn ended(&self, why: Closing, from: Option<Farewell>, to: Option<Farewell>) -> Ended {
        let told = |about_client| match why.end {
            End::PeerLost => loss(about_client),
            end => end.into(),
        };
        let from = from.unwrap_or_else(|| Farewell::Say(told(!self.from_client)));
        let to = to.unwrap_or_else(|| Farewell::Say(told(self.from_client)));
        Ended { from, to, why, from_client: self.from_client, broken: false }
    }
}

/// What the other side is told of a side that was lost, or cut off for what it sent.
const fn loss(of_client: bool) -> CloseFrame {
    match of_client {
        true => CloseFrame::new(End::PeerLost, "connection to the client was lost"),
        false => CloseFrame::new(End::PeerLost, End::PeerLost.reason()),
    }
}

/// The record of a lost connection says whose it was.
fn lost(of_client: bool, why: Closing) -> Closing {
    match why.end {
        End::PeerLost => Closing::new(why.end, format!("{}: {}", loss(of_client).words(), why.reason)),
        _ => why,
    }
}
