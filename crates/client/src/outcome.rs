//! How a stream ended, and what its user gets from that: an exit code, and an error unless all is well.

use std::io;

use anyhow::{Context, anyhow};

use protocol::end::{Closing, End};
use service::exit::{Exit, ExitError, OrExit};
use service::printable::printable;

#[derive(Debug)]
pub(crate) enum EndReason {
    /// The user ended it, by a signal or the escape.
    User,
    /// Nothing reads the output any more.
    OutputClosed,
    /// The local side failed: which part of it, and how.
    Local(&'static str, io::Error),
    /// The peer closed it with a code and a reason.
    Closed(Closing),
    /// The connection to the relay broke. The close reason says how, if that is known.
    Lost(Closing),
}

/// The result of one stream.
#[derive(Debug)]
pub(crate) struct StreamOutcome {
    pub reason: EndReason,
    /// The exit status of the target's process. It arrives after all output of the process.
    pub status: Option<i32>,
}

impl StreamOutcome {
    /// Whether the target ended by itself, so that all its output has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.status.is_some()
            || matches!(&self.reason, EndReason::Closed(closing) if closed(closing, None).is_ok())
    }

    /// The exit status to pass on. `session` is the session's id, if it is known.
    ///
    /// # Errors
    /// Unless the target ended by itself, or the user ended the stream.
    pub(crate) fn result(self, session: Option<&str>) -> Result<i32, ExitError> {
        let result = match (self.reason, self.status) {
            (EndReason::Local(what, error), _) => Err(error).context(what).or_exit(Exit::IoErr),
            (_, Some(status)) => Ok(status),
            (EndReason::User | EndReason::OutputClosed, None) => Ok(0),
            (EndReason::Closed(closing), None) => closed(&closing, session).map(|()| 0),
            (EndReason::Lost(closing), None) => {
                let how = match is_default(&closing) {
                    true => String::new(),
                    false => format!(": {}", printable(&closing.reason)),
                };
                let error = anyhow!("connection to the relay was lost{how}");
                Err(ExitError::new(Exit::Unavailable, error).of_kind("relay_lost"))
            }
        };
        result.map_err(|error| error.in_session(session))
    }
}

fn closed(closing: &Closing, session: Option<&str>) -> Result<(), ExitError> {
    let exit = match closing.end {
        // Agents before 0.2 use this code also if reading from the target failed.
        End::TargetEnded if !closing.reason.starts_with(TARGET_FAILED) => return Ok(()),
        End::NotAllowed | End::TokenUsed | End::TokenMalformed | End::SessionEnded => Exit::NoPerm,
        End::RelayRestarting | End::TooMany => Exit::TempFail,
        _ => Exit::Unavailable,
    };
    let remedy = match (closing.end, session) {
        (End::NoHost, _) => "; the URL was used before, or is older than 60 s: ask for a new one".to_owned(),
        (End::TokenUsed, _) => "; ask for a new URL".to_owned(),
        (End::TokenMalformed, _) => "; the end of the URL is missing or changed: copy all of it".to_owned(),
        (End::TargetFailed | End::TargetTimeout, Some(session)) => {
            format!("; the host's log says why: look for session {session}")
        }
        (End::TargetFailed | End::TargetTimeout, None) => "; the host's log says why".to_owned(),
        _ => String::new(),
    };
    let code = closing.end.code();
    let error = anyhow!("{} ({code}){remedy}", printable(&closing.reason));
    Err(ExitError::new(exit, error).of_kind(closing.end.label()).closed_with(code))
}

const TARGET_FAILED: &str = "target failed";

/// Whether the reason adds nothing to the close code.
fn is_default(closing: &Closing) -> bool {
    closing.reason.is_empty() || closing.reason == closing.end.reason()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(reason: EndReason, status: Option<i32>) -> (u8, String) {
        match (StreamOutcome { reason, status }).result(None) {
            Ok(status) => (u8::try_from(status).unwrap(), String::new()),
            Err(error) => (error.exit.code(), error.to_string()),
        }
    }

    #[test]
    fn every_end_except_the_targets_and_the_users_is_an_error() {
        for end in End::ALL {
            let (code, text) = finished(EndReason::Closed(end.into()), None);
            assert_eq!(code == 0, end == End::TargetEnded, "{end:?}");
            assert_eq!(text.contains(&end.code().to_string()), end != End::TargetEnded, "{text}");
        }
        assert_eq!(finished(EndReason::User, None).0, 0);
        assert_eq!(finished(EndReason::OutputClosed, None).0, 0);
        let failed = Closing::new(End::TargetEnded, "target failed: broken");
        assert_eq!(finished(EndReason::Closed(failed), None), (69, "target failed: broken (1000)".into()));
        assert_eq!(finished(EndReason::Closed(End::SessionEnded.into()), None).0, 77);
        assert_eq!(finished(EndReason::Closed(End::RelayRestarting.into()), None).0, 75);
    }

    #[test]
    fn a_loss_says_how_it_was_seen() {
        let lost = |closing| finished(EndReason::Lost(closing), None);
        assert_eq!(lost(End::PeerLost.into()), (69, "connection to the relay was lost".into()));
        let silent = Closing::new(End::PeerLost, "silent");
        assert_eq!(lost(silent), (69, "connection to the relay was lost: silent".into()));
    }

    #[test]
    fn an_exit_status_counts_because_all_output_came_before_it() {
        assert_eq!(finished(EndReason::Lost(End::PeerLost.into()), Some(3)).0, 3);
        assert_eq!(finished(EndReason::User, Some(3)).0, 3);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(finished(EndReason::Local("standard output", full), Some(0)).0, 74);
    }

    #[test]
    fn texts_of_peers_cannot_control_the_terminal() {
        let forged = Closing::new(End::SessionEnded, "\x1b]0;title\x07\r\nforged");
        let (_, text) = finished(EndReason::Closed(forged), None);
        assert_eq!(text, r"\u{1b}]0;title\u{7}\r\nforged (4410)");
    }
}
