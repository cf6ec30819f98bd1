//! Two websockets linked: what the relay does with a host and a client.
//!
//! Two pumps, one each way, each with one reading and one writing half: output that is stuck
//! never blocks what is typed.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep_until;

use super::leg::{Farewell, Leg, Parting, SILENT, farewell_after, from_peer};
use super::pulse::{Beat, Pulse};
use super::reader::{Event, Reader};
use super::writer::Writer;
use crate::protocol::end::{Closing, End, Outcome};

/// Bytes after which a busy stream lets others run: twice the largest piece.
pub(super) const TURN: usize = 128 * 1024;

/// Moves bytes between a host and a client until one of them ends or `stop` says so. Both are still owed
/// their farewell then. Control messages of the host reach the client only if it speaks `stream.v1`.
pub async fn link<H, C>(
    mut host: Leg<H>,
    mut client: Leg<C>,
    client_speaks_control: bool,
    stop: impl Future<Output = Closing>,
) -> (Outcome, Parting<H>, Parting<C>)
where
    H: AsyncRead + AsyncWrite,
    C: AsyncRead + AsyncWrite,
{
    let (bytes_in, bytes_out) = (AtomicU64::new(0), AtomicU64::new(0));
    let (why, for_host, for_client) = {
        let inward = Pump {
            from: &mut client.reader,
            from_pulse: &client.pulse,
            to: &mut host.writer,
            to_pulse: &host.pulse,
            beat: Beat::every(host.limits.ping_interval),
            pass_text: true,
            count: &bytes_in,
        };
        let outward = Pump {
            from: &mut host.reader,
            from_pulse: &host.pulse,
            to: &mut client.writer,
            to_pulse: &client.pulse,
            beat: Beat::every(client.limits.ping_interval),
            pass_text: client_speaks_control,
            count: &bytes_out,
        };
        tokio::select! {
            why = stop => (why.clone(), Farewell::Say(why.clone()), Farewell::Say(why)),
            ended = inward.run() => {
                // Only a host's code means something to the other side.
                let why = match ended.from {
                    Farewell::Echo(_) => Closing::new(End::PeerLeft, "the client left"),
                    _ => ended.why,
                };
                let for_host = for_other(&ended.to, &why);
                (why, for_host, ended.from)
            }
            ended = outward.run() => {
                let for_client = for_other(&ended.to, &ended.why);
                (ended.why, ended.from, for_client)
            }
        }
    };
    let outcome =
        Outcome { bytes_in: bytes_in.into_inner(), bytes_out: bytes_out.into_inner(), closing: why };
    (outcome, Parting { leg: host, farewell: for_host }, Parting { leg: client, farewell: for_client })
}

/// What the receiving side is told about an end that was not its own doing.
fn for_other(own: &Farewell, why: &Closing) -> Farewell {
    match own {
        Farewell::Say(_) if matches!(why.end, End::ProtocolError | End::TooLarge) => {
            Farewell::Say(End::PeerLeft.into())
        }
        Farewell::Say(_) => Farewell::Say(why.clone()),
        other => other.clone(),
    }
}

struct Pump<'a, R, W> {
    from: &'a mut Reader<R>,
    from_pulse: &'a Pulse,
    to: &'a mut Writer<W>,
    to_pulse: &'a Pulse,
    /// When to ping the side that is written to.
    beat: Beat,
    pass_text: bool,
    count: &'a AtomicU64,
}

/// How one direction ended, and how to take leave of its two sides.
struct Ended {
    why: Closing,
    from: Farewell,
    to: Farewell,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<'_, R, W> {
    async fn run(mut self) -> Ended {
        let mut due = std::pin::pin!(sleep_until(self.beat.due()));
        let mut turn = 0;
        loop {
            self.from_pulse.listening(true);
            let written = tokio::select! {
                biased;
                payload = self.to_pulse.owed() => self.to.pong(payload).await,
                event = self.from.next(self.from_pulse) => {
                    self.from_pulse.listening(false);
                    match event {
                        Ok(Event::Bytes(bytes)) => {
                            turn += bytes.len();
                            self.count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                            let written = self.to.bytes(bytes).await;
                            if turn >= TURN {
                                turn = 0;
                                tokio::task::yield_now().await;
                            }
                            written
                        }
                        Ok(Event::Text(text)) if self.pass_text => self.to.text(text).await,
                        Ok(Event::Text(_)) => Ok(()),
                        Ok(Event::Close(close)) => return from_side(from_peer(close), true),
                        Ok(Event::Eof) => return from_side(End::PeerLeft.into(), false),
                        Err(error) => {
                            let why: Closing = error.into();
                            return Ended { from: farewell_after(&why), to: say(&why), why };
                        }
                    }
                }
                () = &mut due => {
                    if !self.to_pulse.beat() {
                        let why = Closing::new(End::PeerLeft, SILENT);
                        return Ended { from: say(&why), to: Farewell::Gone, why };
                    }
                    let written = self.to.ping().await;
                    self.beat.sent();
                    due.as_mut().reset(self.beat.due());
                    written
                }
            };
            if let Err(error) = written {
                let why: Closing = error.into();
                return Ended { from: say(&why), to: farewell_after(&why), why };
            }
        }
    }
}

fn say(why: &Closing) -> Farewell {
    Farewell::Say(why.clone())
}

fn from_side(why: Closing, with_close: bool) -> Ended {
    let from = if with_close { Farewell::Echo(why.clone()) } else { Farewell::Gone };
    Ended { to: say(&why), from, why }
}
