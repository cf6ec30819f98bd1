//! One stream: open the target for a client, move bytes, record how it ended.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::daemon::audit::{Event, Record};
use crate::link::bridge::{AtEof, Heard, Local, bridge};
use crate::link::leg::{Farewell, Leg};
use crate::link::socket::Socket;
use crate::protocol::close::CloseFrame;
use crate::protocol::control::{FromClient, FromHost, to_text};
use crate::protocol::end::{Closing, End};
use crate::protocol::failure::Failure;

use super::Agent;
use super::allowlist::Place;
use super::order::Order;
use super::stop::Stop;
use super::target::{Ask, Opened, Process, Window};

/// Refusals that may wait for a client to take them.
const NOTES: usize = 4;

/// How long a client that speaks `stream.v1` has to say how large its terminal is, before a program is started
/// without: a round trip from client to host over a slow network.
const FIRST_SIZE: Duration = Duration::from_millis(300);

/// What is sent after the last byte of a target, or how the target failed after all.
type LastWords = Result<Option<String>, Failure>;

/// What the relay said when a client claimed the stream.
pub struct Linked {
    /// Number of the stream in its session, from 1.
    pub stream: u32,
    /// Address of the client; none if the relay said something else.
    pub peer: Option<IpAddr>,
    /// Whether the client understands control messages.
    pub control: bool,
}

/// One stream: a client and an opened target.
pub struct Stream {
    /// Where records go.
    pub agent: Arc<Agent>,
    /// What was asked for.
    pub order: Arc<Order>,
    /// The right to open the target, now.
    pub place: Place,
    /// Ends the session.
    pub stop: Stop,
    /// When the session's time is over.
    pub until: Instant,
    /// The client.
    pub linked: Linked,
}

impl Stream {
    /// Opens the target and moves bytes until one side ends, or must. What happens once is boxed: thousands of
    /// these are idle.
    pub async fn run(self, leg: Leg<Socket>) {
        let Some((leg, opened)) = Box::pin(self.open(leg)).await else { return };
        self.agent.tell(self.record(Event::Started));
        let begun = Instant::now();
        let Opened { output, input, asked, process, half_close } = opened;
        let control = self.linked.control;
        let at_eof = if half_close && control { AtEof::HalfClose } else { AtEof::End };
        let (note, notes) = control.then(|| mpsc::channel(NOTES)).unzip();
        let hear = |text: &str| {
            let ask = match serde_json::from_str(text) {
                Ok(FromClient::Eof) => return Heard::Eof,
                Ok(FromClient::Ack { bytes }) => return Heard::Ack(bytes),
                Ok(message) => ask(message),
                Err(_) => None,
            };
            if let Some((what, ask)) = ask
                && let Err(unable) = asked(ask)
                && let Some(note) = &note
            {
                // A client that asks faster than it reads the answers does not get them all.
                let _ = note
                    .try_send(to_text(&FromHost::Refused { what: what.into(), message: unable.to_string() }));
            }
            Heard::Nothing
        };
        let local = Local { output, input, at_eof, notes };
        let last_words: Pin<Box<dyn Future<Output = LastWords> + Send>> = match process {
            Some(process) => Box::pin(last_words(process, control)),
            None => Box::pin(ready(Ok(None))),
        };
        let stop = Box::pin(self.ended());
        let (outcome, parting) = Box::pin(bridge(leg, local, hear, last_words, stop)).await;
        self.agent.tell(Record {
            bytes_in: Some(outcome.bytes_in),
            bytes_out: Some(outcome.bytes_out),
            lasted: Some(begun.elapsed()),
            end: Some(outcome.closing.end),
            reason: Some(outcome.closing.reason.into()),
            ..self.record(Event::Ended)
        });
        // Its place on the allowlist is free, and its terminal closed, before the peer has answered.
        drop((self, asked));
        Box::pin(parting.take_leave()).await;
    }

    /// Opens the target; without success the client is told and gone.
    async fn open(&self, mut leg: Leg<Socket>) -> Option<(Leg<Socket>, Opened)> {
        // From here on only: a VM's only console is not held for a client that never comes.
        let opening = async {
            let window = self.first_size(&mut leg).await?;
            leg.attend(self.place.open(window)).await
        };
        let opened = tokio::select! {
            biased;
            why = self.ended() => Err((why.clone().into(), Farewell::Say(why))),
            opened = opening => match opened {
                Ok(Ok(opened)) => Ok(opened),
                // The owner's record has the details: addresses are not for clients.
                Ok(Err(error)) => {
                    Err((Closing::new(error.end, error.message), Farewell::Say(error.end.into())))
                }
                Err(left) => Err(left),
            },
        };
        match opened {
            Ok(opened) => Some((leg, opened)),
            Err((why, farewell)) => {
                self.agent.tell(Record {
                    end: Some(why.end),
                    reason: Some(why.reason.into()),
                    ..self.record(Event::Refused)
                });
                leg.finish(farewell).await;
                None
            }
        }
    }

    /// The size of the client's terminal, if that is the first thing it says: a program may look at it only once, at
    /// its start.
    async fn first_size(&self, leg: &mut Leg<Socket>) -> Result<Option<Window>, (Closing, Farewell)> {
        if !self.linked.control || !self.place.permit().target().is_terminal() {
            return Ok(None);
        }
        let said = leg.glance(FIRST_SIZE).await?;
        Ok(match said.map(serde_json::from_str) {
            Some(Ok(FromClient::Resize { cols: cols @ 1.., rows: rows @ 1.. })) => {
                Some(Window { cols, rows })
            }
            _ => None,
        })
    }

    /// Resolves when the stream must end for a reason of ours.
    async fn ended(&self) -> CloseFrame {
        tokio::select! {
            why = self.stop.wait() => why,
            why = self.place.permit().revoked().wait() => why,
            () = sleep_until(self.until) => CloseFrame::new(End::SessionEnded, "the session's time is over"),
        }
    }

    fn record(&self, event: Event) -> Record {
        Record {
            stream: Some(self.linked.stream),
            peer: self.linked.peer.map(|peer| peer.to_string()),
            mode: Some(self.place.permit().mode()),
            params: self.order.params.clone(),
            ..self.order.record(event, &self.agent.settings().host)
        }
    }
}

/// What a control message asks of the target, and its type; none for what is not for the target.
fn ask(message: FromClient) -> Option<(&'static str, Ask)> {
    Some(match message {
        FromClient::Resize { cols, rows } => ("resize", Ask::Resize(Window { cols, rows })),
        FromClient::Signal { name } => ("signal", Ask::Signal(name)),
        FromClient::Pause => ("pause", Ask::Pause),
        FromClient::Resume => ("resume", Ask::Resume),
        FromClient::Filter { pattern, invert } => ("filter", Ask::Filter { pattern, invert }),
        FromClient::Since { time } => ("since", Ask::Since(time)),
        FromClient::Ack { .. } | FromClient::Eof | FromClient::Unknown => return None,
    })
}

/// How a process ended, for a client that understands it. Its output may end long before it does, and what it
/// does then is still what the client asked for: it is waited for until the client leaves or the session ends,
/// also if there is nobody to tell.
async fn last_words(mut process: Process, control: bool) -> LastWords {
    let status = process.exit().await;
    match control {
        true => Ok(Some(to_text(&FromHost::Exit { code: status }))),
        false if is_of_others(status) => Err(Failure::Killed),
        false => Ok(None),
    }
}

/// Whether the exit status is that of a signal which is hardly the client's doing: keys, and the end of a terminal
/// or a pipe, send the others.
fn is_of_others(status: i32) -> bool {
    const SIGNALS: RangeInclusive<i32> = 1..=64;
    const OF_CLIENTS: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE];
    SIGNALS.contains(&(status - 128)) && !OF_CLIENTS.contains(&(status - 128))
}
