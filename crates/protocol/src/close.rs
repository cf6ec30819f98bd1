//! The close frame that a peer gets.
//!
//! A [`Closing`] has the reason for the record, which may name addresses, paths and programs of the host. A
//! [`CloseFrame`] goes to the peer. Only the [`End`] of a [`Closing`] gets into a frame, never its text.

use std::borrow::Cow;
use std::fmt;

use super::end::{Closing, End};
use super::failure::Failure;
use super::plain::plain;

/// The longest reason, in bytes: a control frame has 125, and two are the code's (RFC 6455 section 5.5).
pub const MAX_REASON: usize = 123;

/// An end, and a reason that names nothing of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    end: End,
    words: Cow<'static, str>,
}

impl CloseFrame {
    /// An end with a reason from the source code.
    pub const fn new(end: End, words: &'static str) -> CloseFrame {
        CloseFrame { end, words: Cow::Borrowed(words) }
    }

    /// For a target that failed while its stream was open.
    pub const fn failed(failure: Failure) -> CloseFrame {
        CloseFrame::new(End::TargetFailed, failure.words())
    }

    /// For a session that the platform ends. Its reason is put on one line and cut to [`MAX_REASON`].
    pub fn by_platform(reason: &str) -> CloseFrame {
        match reason.is_empty() {
            true => End::SessionEnded.into(),
            false => CloseFrame { end: End::SessionEnded, words: Cow::Owned(one_line(reason)) },
        }
    }

    /// What a relay sends to the client after the host has closed with `closing`.
    pub fn by_host(closing: &Closing) -> CloseFrame {
        match closing.end {
            // Agents before 0.2.0 use this end for failed targets too, with details in the reason.
            End::TargetEnded if closing.reason.starts_with("target failed") => {
                CloseFrame::failed(Failure::Broken)
            }
            // These concern only host and relay.
            End::ProtocolError | End::InvalidText | End::TooLarge => End::PeerLeft.into(),
            end @ (End::TargetEnded | End::PeerLost) => end.into(),
            end => CloseFrame { end, words: Cow::Owned(one_line(&closing.reason)) },
        }
    }

    /// Why the websocket is closed.
    pub const fn end(&self) -> End {
        self.end
    }

    /// The reason of the close frame, at most [`MAX_REASON`] bytes.
    pub fn words(&self) -> &str {
        &self.words
    }
}

impl From<End> for CloseFrame {
    fn from(end: End) -> CloseFrame {
        CloseFrame::new(end, end.reason())
    }
}

/// What a peer gets may also be recorded.
impl From<CloseFrame> for Closing {
    fn from(frame: CloseFrame) -> Closing {
        Closing { end: frame.end, reason: frame.words }
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.words, self.end.code())
    }
}

/// The beginning of a text from outside, on one line.
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
    fn an_old_agents_reason_for_a_failed_target_is_passed_on_without_its_details() {
        let passed_on = |end, reason: &str| {
            let frame = CloseFrame::by_host(&Closing::new(end, reason.to_owned()));
            (frame.end(), frame.words().to_owned())
        };
        assert_eq!(
            passed_on(End::TargetEnded, "target failed: /srv/x does not exist"),
            (End::TargetFailed, "the target failed".into())
        );
        assert_eq!(passed_on(End::TargetEnded, "bye"), (End::TargetEnded, "target ended".into()));
        assert_eq!(passed_on(End::SessionEnded, "enough"), (End::SessionEnded, "enough".into()));
    }

    #[test]
    fn every_reason_fits_into_a_close_frame() {
        let failures = Failure::ALL.map(|failure| failure.words());
        for words in End::ALL.map(End::reason).into_iter().chain(failures) {
            assert!(words.len() <= MAX_REASON, "{words}");
        }
    }
}
