//! One stream between a websocket and something local.

use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::daemon::printable::printable;
use crate::link::bridge::{AtEof, Heard, Local, bridge};
use crate::link::leg::Leg;
use crate::link::socket::Socket;
use crate::protocol::control::{FromClient, FromHost, to_text};
use crate::protocol::end::End;

use super::ending::{Ending, Finished};
use super::key::SessionKey;
use super::terminal;
use super::watched::Watched;

/// How long a stream that is ended on this side may take to say so. The relay may be what hangs.
const LEAVE: Duration = Duration::from_secs(2);

/// The local side of a stream.
pub struct Side<R, W> {
    /// What the user sends, and what it is called.
    pub input: (R, &'static str),
    /// Where the output of the target goes, and what it is called.
    pub output: (W, &'static str),
    /// Control messages for the host.
    pub notes: Option<mpsc::Receiver<String>>,
    /// The stream is over when the host has no more to say. A person who types would not know whom to.
    pub ends_with_host: bool,
    /// Learns the key of the session.
    pub key: SessionKey,
}

/// Moves bytes until the stream ends, or `stop` says how it ends on this side, or the local side fails.
pub async fn carry<R, W>(leg: Leg<Socket>, side: Side<R, W>, stop: impl Future<Output = Ending>) -> Finished
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (status, said_all) = (OnceLock::new(), CancellationToken::new());
    let hear = |text: &str| match serde_json::from_str(text) {
        Ok(FromHost::Eof) => {
            if side.ends_with_host {
                said_all.cancel();
            }
            Heard::Eof
        }
        Ok(FromHost::Exit { code }) => {
            let _ = status.set(code);
            Heard::Nothing
        }
        Ok(FromHost::Refused { what, message }) => {
            terminal::say(&format!("{}: {}", printable(&what), printable(&message)));
            Heard::Nothing
        }
        Ok(FromHost::Unknown) | Err(_) => {
            side.key.hear(text);
            Heard::Nothing
        }
    };
    let (report, mut failed) = mpsc::channel(1);
    let local = Local {
        output: Watched::new(side.input.0, side.input.1, report.clone()),
        input: Some(Watched::new(side.output.0, side.output.1, report)),
        at_eof: AtEof::LeaveToPeer,
        notes: side.notes,
    };
    let leave = CancellationToken::new();
    let asked = async {
        leave.cancelled().await;
        End::PeerLeft.into()
    };
    let mut stream = pin!(async {
        let (outcome, parting) = bridge(leg, local, hear, std::future::ready(Ok(None)), asked).await;
        let is_lost = parting.is_lost();
        parting.take_leave().await;
        match is_lost {
            true => Ending::Lost(outcome.closing),
            false => Ending::Closed(outcome.closing),
        }
    });
    let ours = tokio::select! {
        biased;
        ending = &mut stream => Err(ending),
        Some(ending) = failed.recv() => Ok(ending),
        ending = stop => Ok(ending),
        () = said_all.cancelled() => Ok(Ending::Closed(End::TargetEnded.into())),
    };
    let ending = match ours {
        // What came last may not have reached the output.
        Err(ending) => failed.try_recv().unwrap_or(ending),
        Ok(ending) => {
            leave.cancel();
            let _ = timeout(LEAVE, stream).await;
            ending
        }
    };
    Finished { ending, status: status.get().copied() }
}

/// The terminal's size now and whenever it changes, as control messages.
pub fn sizes() -> Option<mpsc::Receiver<String>> {
    let mut changed = signal(SignalKind::window_change()).ok()?;
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            if let Some((cols, rows)) = terminal::size()
                && tell.send(to_text(&FromClient::Resize { cols, rows })).await.is_err()
            {
                return;
            }
            if changed.recv().await.is_none() {
                return;
            }
        }
    });
    Some(told)
}
