//! What a peer is told when its websocket is closed.
//!
//! A [`Closing`] says why a stream ended and may name addresses, paths and programs of the host: it is for the
//! record. A [`CloseFrame`] goes to the peer. No text can get from the one to the other, only the [`End`].

use std::borrow::Cow;
use std::fmt;

use super::end::{Closing, End};
use super::failure::Failure;
use super::plain::plain;

/// The longest reason, in bytes: a control frame has 125, and two are the code's (RFC 6455 section 5.5).
pub const MAX_REASON: usize = 123;

/// An end, and words for it that name nothing of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    end: End,
    words: Cow<'static, str>,
}

impl CloseFrame {
    /// An end with words that stand in the source code.
    pub const fn new(end: End, words: &'static str) -> CloseFrame {
        CloseFrame { end, words: Cow::Borrowed(words) }
    }

    /// A target failed while its stream was open.
    pub const fn failed(failure: Failure) -> CloseFrame {
        CloseFrame::new(End::TargetFailed, failure.words())
    }

    /// The platform ends a session, for a reason of its own: on one line, cut to [`MAX_REASON`].
    pub fn by_platform(reason: &str) -> CloseFrame {
        match reason.is_empty() {
            true => End::SessionEnded.into(),
            false => CloseFrame { end: End::SessionEnded, words: Cow::Owned(one_line(reason)) },
        }
    }

    /// What a relay passes on to the client when the host has closed with this.
    pub fn by_host(closing: &Closing) -> CloseFrame {
        match closing.end {
            // Agents before 0.2.0 said so of failed targets, too, and with which words.
            End::TargetEnded if closing.reason.starts_with("target failed") => {
                CloseFrame::failed(Failure::Broken)
            }
            // That is between host and relay.
            End::ProtocolError | End::InvalidText | End::TooLarge => End::PeerLeft.into(),
            end @ (End::TargetEnded | End::PeerLost) => end.into(),
            end => CloseFrame { end, words: Cow::Owned(one_line(&closing.reason)) },
        }
    }

    /// Why.
    pub const fn end(&self) -> End {
        self.end
    }

    /// The words for it: at most [`MAX_REASON`] bytes.
    pub fn words(&self) -> &str {
        &self.words
    }
}

impl From<End> for CloseFrame {
    fn from(end: End) -> CloseFrame {
        CloseFrame::new(end, end.reason())
    }
}

/// What was told may always be recorded.
impl From<CloseFrame> for Closing {
    fn from(told: CloseFrame) -> Closing {
        Closing { end: told.end, reason: told.words }
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.words, self.end.code())
    }
}

/// The beginning of a text that others wrote.
fn one_line(text: &str) -> String {
    plain(text, MAX_REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platforms_reason_is_one_short_line() {
        assert_eq!(CloseFrame::by_platform(""), End::SessionEnded.into());
        assert_eq!(CloseFrame::by_platform("shift\nover\x1b[2J").words(), "shift over [2J");
        let long = CloseFrame::by_platform(&"é".repeat(1000));
        assert_eq!((long.words().len(), long.end()), (122, End::SessionEnded));
    }

    #[test]
    fn what_an_old_agent_says_of_a_failed_target_is_passed_on_without_its_details() {
        let told = |end, reason: &str| {
            let told = CloseFrame::by_host(&Closing::new(end, reason.to_owned()));
            (told.end(), told.words().to_owned())
        };
        assert_eq!(
            told(End::TargetEnded, "target failed: /srv/x does not exist"),
            (End::TargetFailed, "the target failed".into())
        );
        assert_eq!(told(End::TargetEnded, "bye"), (End::TargetEnded, "target ended".into()));
        assert_eq!(told(End::SessionEnded, "enough"), (End::SessionEnded, "enough".into()));
    }

    #[test]
    fn every_reason_fits_into_a_close_frame() {
        let failures = Failure::ALL.map(|failure| failure.words());
        for words in End::ALL.map(End::reason).into_iter().chain(failures) {
            assert!(words.len() <= MAX_REASON, "{words}");
        }
    }
}
