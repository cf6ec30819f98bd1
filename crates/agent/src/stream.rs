//! One stream: opens the target for a client, moves bytes, and records the end.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use net::socket::Socket;
use opener::{Stop, TargetSession};
use protocol::audit::{Context, Event};
use protocol::close::CloseFrame;
use protocol::control::{FromClient, FromHost, to_text};
use protocol::end::{Closing, End};
use protocol::failure::Failure;
use stream::bridge::{AtEof, ControlEffect, Local, bridge};
use websocket::connection::{CloseAction, WebSocket};

use super::places::Place;
use super::state::State;
use super::verify::VerifiedStart;
use targets::{Ask, Opened, Process, Window};

/// Refused control messages whose answers may wait for the client.
const NOTES: usize = 4;

/// How long a program's start waits for the terminal size of a client that speaks `stream.v1`: a round trip over a slow
/// network.
const FIRST_SIZE: Duration = Duration::from_millis(300);

/// The control message after the target's last byte, or how the target failed.
type LastWords = Result<Option<String>, Failure>;

/// The relay's message that a client has claimed the stream.
pub(crate) struct Linked {
    /// Number of the stream in its session, from 1.
    pub stream: u32,
    /// Address of the client; none if the relay's text is not an address.
    pub peer: Option<IpAddr>,
    /// Whether the client understands control messages.
    pub control: bool,
}

/// One stream: a client and an opened target.
pub(crate) struct Stream {
    pub state: Arc<State>,
    pub verified: Arc<VerifiedStart>,
    /// What opens the target.
    pub target: Arc<TargetSession>,
    /// Its place among the open streams.
    pub _place: Place,
    pub stop: Stop,
    pub until: Instant,
    pub linked: Linked,
}

impl Stream {
    /// Opens the target and moves bytes until one side ends, or must. What happens once is boxed: thousands of
    /// these are idle.
    pub(crate) async fn run(self, websocket: WebSocket<Socket>) {
        let control = self.linked.control;
        let (note, notes) = control.then(|| mpsc::channel::<String>(NOTES)).unzip();
        let pongs = note.clone();
        let Some((websocket, opened)) = Box::pin(self.open(websocket, note)).await else { return };
        self.report(Event::Started);
        tracing::debug!("the target is open");
        let begun = Instant::now();
        let Opened { output, input, asked, process, half_close, socket: _ } = opened;
        let at_eof = if half_close && control { AtEof::HalfClose } else { AtEof::End };
        let on_text = |text: &str| {
            let ask = match serde_json::from_str(text) {
                Ok(FromClient::Eof) => return ControlEffect::Eof,
                Ok(FromClient::Ack { bytes }) => return ControlEffect::Ack(bytes),
                Ok(FromClient::Ping { id }) => {
                    // A client that asks faster than it reads the answers does not get them all.
                    let _ = pongs.as_ref().map(|pongs| pongs.try_send(to_text(&FromHost::Pong { id })));
                    return ControlEffect::None;
                }
                Ok(message) => ask(message),
                Err(_) => None,
            };
            if let Some(ask) = ask {
                // What cannot be done comes back as a note.
                let _ = asked(ask);
            }
            ControlEffect::None
        };
        let local = Local { output, input, at_eof, control: notes };
        let last_words: Pin<Box<dyn Future<Output = LastWords> + Send>> = match process {
            Some(process) => Box::pin(last_words(process, control)),
            None => Box::pin(ready(Ok(None))),
        };
        let stop = Box::pin(self.ended());
        let (outcome, ended) = Box::pin(bridge(websocket, local, on_text, last_words, stop)).await;
        self.report(Event::Ended { outcome, lasted: begun.elapsed() });
        // Frees its place on the allowlist, and closes its terminal, before the peer answers.
        drop((self, asked));
        Box::pin(ended.close()).await;
    }

    /// Opens the target. If that fails, closes the client with the reason.
    async fn open(
        &self,
        mut websocket: WebSocket<Socket>,
        notes: Option<mpsc::Sender<String>>,
    ) -> Option<(WebSocket<Socket>, Opened)> {
        // Not before the client is linked: a VM's only console must not wait for a client that never comes.
        let opening = async {
            let window = self.first_size(&mut websocket).await?;
            websocket.wait_unread(self.target.open(self.linked.stream, window, notes)).await
        };
        let opened = tokio::select! {
            biased;
            why = self.ended() => Err((why.clone().into(), CloseAction::Send(why))),
            opened = opening => match opened {
                Ok(Ok(opened)) => Ok(opened),
                // Only the record has the details: clients get no addresses.
                Ok(Err(error)) => {
                    Err((Closing::new(error.end, error.message), CloseAction::Send(error.end.into())))
                }
                Err(left) => Err(left),
            },
        };
        match opened {
            Ok(opened) => Some((websocket, opened)),
            Err((why, close_action)) => {
                self.report(Event::Refused(why));
                websocket.finish(close_action).await;
                None
            }
        }
    }

    /// The size of the client's terminal, if its first message has it: a program may read the size only at its start.
    async fn first_size(
        &self,
        websocket: &mut WebSocket<Socket>,
    ) -> Result<Option<Window>, (Closing, CloseAction)> {
        if !self.linked.control || !self.target.permitted().is_terminal {
            return Ok(None);
        }
        let said = websocket.peek_text(FIRST_SIZE).await?;
        Ok(match said.map(serde_json::from_str) {
            Some(Ok(FromClient::Resize { cols: cols @ 1.., rows: rows @ 1.. })) => {
                Some(Window { cols, rows })
            }
            _ => None,
        })
    }

    /// Resolves when the host must end the stream.
    async fn ended(&self) -> CloseFrame {
        tokio::select! {
            why = self.stop.wait() => why,
            why = self.target.ended() => why,
            () = sleep_until(self.until) => CloseFrame::new(End::SessionEnded, "the session's time is over"),
        }
    }

    fn report(&self, event: Event) {
        let context = Context {
            stream: Some(self.linked.stream),
            peer: self.linked.peer,
            mode: Some(self.target.permitted().mode),
            params: self.verified.request.params.clone(),
            ..self.verified.context(&self.state.settings().host)
        };
        self.state.audit.report(context, event);
    }
}

/// The request for the target in a control message; none if it is not for the target.
fn ask(message: FromClient) -> Option<Ask> {
    Some(match message {
        FromClient::Resize { cols, rows } => Ask::Resize(Window { cols, rows }),
        FromClient::Signal { name } => Ask::Signal(name),
        FromClient::Pause => Ask::Pause,
        FromClient::Resume => Ask::Resume,
        FromClient::Filter { pattern, invert } => Ask::Filter { pattern, invert },
        FromClient::Since { time } => Ask::Since(time),
        FromClient::Ack { .. } | FromClient::Eof | FromClient::Ping { .. } | FromClient::Unknown => {
            return None;
        }
    })
}

/// Waits for the exit status, for a client that understands it. A process may work on after its output has ended, and
/// the client asked for that work: so it is waited for until the client leaves or the session ends, also for a client
/// that cannot get the status.
async fn last_words(mut process: Process, control: bool) -> LastWords {
    let status = process.exit().await;
    match control {
        true => Ok(Some(to_text(&FromHost::Exit { code: status }))),
        false if is_of_others(status) => Err(Failure::Killed),
        false => Ok(None),
    }
}

/// Whether the exit status is that of a signal that the client cannot have caused. Keys, and the end of a terminal or a
/// pipe, cause the others.
fn is_of_others(status: i32) -> bool {
    const SIGNALS: RangeInclusive<i32> = 1..=64;
    const OF_CLIENTS: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE];
    SIGNALS.contains(&(status - 128)) && !OF_CLIENTS.contains(&(status - 128))
}
