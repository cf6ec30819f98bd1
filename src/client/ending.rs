//! What the end of a stream means to its user: nothing to say where all is well, else a sentence and an exit code.

use std::io;

use anyhow::{Context, anyhow};

use crate::daemon::exit::{Exit, ExitError, OrExit};
use crate::daemon::printable::printable;
use crate::protocol::end::{Closing, End};

/// How a stream ended.
#[derive(Debug)]
pub enum Ending {
    /// The user ended it: a signal, or the escape.
    User,
    /// Nobody takes the output any more.
    Unread,
    /// Something local failed: what, and how.
    Local(&'static str, io::Error),
    /// It was closed with a code and a reason.
    Closed(Closing),
    /// The connection to the relay broke. The reason says how, where that is known.
    Lost(Closing),
}

/// What is left when a stream is over.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// The exit status of the target's process. It comes after all that the process said.
    pub status: Option<i32>,
}

impl Finished {
    /// Whether the target came to its own end, so that all that it had to say has arrived.
    pub fn is_whole(&self) -> bool {
        self.status.is_some() || matches!(&self.ending, Ending::Closed(closing) if closed(closing).is_ok())
    }

    /// The exit status to pass on.
    ///
    /// # Errors
    /// Every end but these: the target's own, with or without a status, and the user's.
    pub fn result(self) -> Result<i32, ExitError> {
        match (self.ending, self.status) {
            (Ending::Local(what, error), _) => Err(error).context(what).or_exit(Exit::IoErr),
            (_, Some(status)) => Ok(status),
            (Ending::User | Ending::Unread, None) => Ok(0),
            (Ending::Closed(closing), None) => closed(&closing).map(|()| 0),
            (Ending::Lost(closing), None) => {
                let how = match is_plain(&closing) {
                    true => String::new(),
                    false => format!(": {}", printable(&closing.reason)),
                };
                Err(anyhow!("connection to the relay was lost{how}")).or_exit(Exit::Unavailable)
            }
        }
    }
}

fn closed(closing: &Closing) -> Result<(), ExitError> {
    let exit = match closing.end {
        // Agents before 0.2 close so, too, when reading from the target failed.
        End::TargetEnded if !closing.reason.starts_with(TARGET_FAILED) => return Ok(()),
        End::NotAllowed | End::TokenUsed | End::TokenMalformed | End::SessionEnded => Exit::NoPerm,
        End::RelayRestarting | End::TooMany => Exit::TempFail,
        _ => Exit::Unavailable,
    };
    let remedy = match closing.end {
        End::NoHost => "; the URL was used before, or is older than 60 s: ask for a new one",
        End::TargetFailed | End::TargetTimeout => "; the host's log says why",
        _ => "",
    };
    Err(anyhow!("{} ({}){remedy}", printable(&closing.reason), closing.end.code())).or_exit(exit)
}

const TARGET_FAILED: &str = "target failed";

/// Whether the reason says nothing that the end does not.
fn is_plain(closing: &Closing) -> bool {
    closing.reason.is_empty() || closing.reason == closing.end.reason()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(ending: Ending, status: Option<i32>) -> (u8, String) {
        match (Finished { ending, status }).result() {
            Ok(status) => (u8::try_from(status).unwrap(), String::new()),
            Err(error) => (error.exit.code(), error.to_string()),
        }
    }

    #[test]
    fn every_end_but_the_targets_and_the_users_is_an_error() {
        for end in End::ALL {
            let (code, said) = finished(Ending::Closed(end.into()), None);
            assert_eq!(code == 0, end == End::TargetEnded, "{end:?}");
            assert_eq!(said.contains(&end.code().to_string()), end != End::TargetEnded, "{said}");
        }
        assert_eq!(finished(Ending::User, None).0, 0);
        assert_eq!(finished(Ending::Unread, None).0, 0);
        let failed = Closing::new(End::TargetEnded, "target failed: broken");
        assert_eq!(finished(Ending::Closed(failed), None), (69, "target failed: broken (1000)".into()));
        assert_eq!(finished(Ending::Closed(End::SessionEnded.into()), None).0, 77);
        assert_eq!(finished(Ending::Closed(End::RelayRestarting.into()), None).0, 75);
    }

    #[test]
    fn a_loss_says_how_it_was_seen() {
        let lost = |closing| finished(Ending::Lost(closing), None);
        assert_eq!(lost(End::PeerLost.into()), (69, "connection to the relay was lost".into()));
        let silent = Closing::new(End::PeerLost, "silent");
        assert_eq!(lost(silent), (69, "connection to the relay was lost: silent".into()));
    }

    #[test]
    fn an_exit_status_counts_as_all_was_said_before_it() {
        assert_eq!(finished(Ending::Lost(End::PeerLost.into()), Some(3)).0, 3);
        assert_eq!(finished(Ending::User, Some(3)).0, 3);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(finished(Ending::Local("standard output", full), Some(0)).0, 74);
    }

    #[test]
    fn words_of_others_do_nothing_to_the_terminal() {
        let forged = Closing::new(End::SessionEnded, "\x1b]0;title\x07\r\nforged");
        let (_, said) = finished(Ending::Closed(forged), None);
        assert_eq!(said, r"\u{1b}]0;title\u{7}\r\nforged (4410)");
    }
}
