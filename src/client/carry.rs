//! One stream between a websocket and something local, and what its end means.

use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::anyhow;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::link::bridge::{AtEof, Heard, Local, bridge};
use crate::link::leg::Leg;
use crate::link::socket::Socket;
use crate::protocol::close::CloseFrame;
use crate::protocol::control::{FromClient, FromHost, to_text};
use crate::protocol::end::{End, Outcome};

use super::terminal;

/// Moves bytes until the stream ends, or `stop` says so. The number is the exit status of the target's
/// process, where it has one.
pub async fn carry<R, W>(
    leg: Leg<Socket>,
    input: R,
    output: W,
    notes: Option<mpsc::Receiver<String>>,
    stop: impl Future<Output = CloseFrame>,
) -> (Outcome, Option<i32>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    const UNKNOWN: i32 = -1;
    let status = AtomicI32::new(UNKNOWN);
    let hear = |text: &str| match serde_json::from_str(text) {
        Ok(FromHost::Eof) => Heard::Eof,
        Ok(FromHost::Exit { code }) => {
            status.store(code, Ordering::Relaxed);
            Heard::Nothing
        }
        Ok(FromHost::Refused { what, message }) => {
            eprintln!("{what}: {message}");
            Heard::Nothing
        }
        Ok(FromHost::Unknown) | Err(_) => Heard::Nothing,
    };
    let local = Local { output: input, input: Some(output), at_eof: AtEof::LeaveToPeer, notes };
    let (outcome, parting) = bridge(leg, local, hear, std::future::ready(None), stop).await;
    parting.take_leave().await;
    let status = status.into_inner();
    (outcome, (status != UNKNOWN).then_some(status))
}

/// A stream that ended as streams do is no error.
///
/// # Errors
/// Every other end, with the exit code that says of which kind it is.
pub fn finished(outcome: &Outcome) -> Result<(), ExitError> {
    let closing = &outcome.closing;
    let exit = match closing.end {
        End::TargetEnded => return Ok(()),
        End::PeerLeft
            if outcome.bytes_out + outcome.bytes_in > 0 && closing.reason == End::PeerLeft.reason() =>
        {
            return Ok(());
        }
        End::NotAllowed | End::TokenUsed | End::TokenMalformed | End::SessionEnded => Exit::NoPerm,
        End::RelayRestarting | End::TooMany => Exit::TempFail,
        _ => Exit::Unavailable,
    };
    Err(anyhow!("{closing}")).or_exit(exit)
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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::protocol::end::Closing;

    fn exit(end: impl Into<Closing>, bytes_out: u64) -> Exit {
        let outcome = Outcome { bytes_in: 0, bytes_out, closing: end.into() };
        finished(&outcome).map_or_else(|error| error.exit, |()| Exit::Ok)
    }

    #[test]
    fn an_end_has_its_exit_code() {
        assert_eq!(exit(End::TargetEnded, 0), Exit::Ok);
        assert_eq!(exit(End::PeerLeft, 1), Exit::Ok);
        // Nothing was ever said: that is not how a good stream ends.
        assert_eq!(exit(End::PeerLeft, 0), Exit::Unavailable);
        assert_eq!(exit(Closing::new(End::PeerLeft, "silent"), 1), Exit::Unavailable);
        assert_eq!(exit(End::SessionEnded, 1), Exit::NoPerm);
        assert_eq!(exit(End::TooMany, 0), Exit::TempFail);
        assert_eq!(exit(End::NoHost, 0), Exit::Unavailable);
    }
}
