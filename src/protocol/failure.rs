//! How a target failed after it was opened.

use std::fmt;
use std::io;

/// A failure in the only words that clients get about it; the details are for the host's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// In a way that has no words of its own here.
    Broken,
    /// Its connection was reset.
    Reset,
    /// It was removed: a named pipe, a log's directory, a device.
    Gone,
    /// What is kept of a log cannot be read.
    Unreadable,
    /// The program that reads a log for the agent has ended.
    ReaderEnded,
    /// A signal ended the program, and its client cannot be told the exit status.
    Killed,
    /// A container runs, but not as the one that was opened.
    Restarted,
    /// A container was removed.
    Removed,
    /// A container's engine broke off, or cannot say how the program ended.
    EngineLost,
}

impl Failure {
    /// All of them.
    pub const ALL: [Failure; 9] = [
        Failure::Broken,
        Failure::Reset,
        Failure::Gone,
        Failure::Unreadable,
        Failure::ReaderEnded,
        Failure::Killed,
        Failure::Restarted,
        Failure::Removed,
        Failure::EngineLost,
    ];

    /// What clients are told.
    pub const fn words(self) -> &'static str {
        match self {
            Failure::Broken => "the target failed",
            Failure::Reset => "the target's connection was reset",
            Failure::Gone => "the target was removed",
            Failure::Unreadable => "a part of the log cannot be read",
            Failure::ReaderEnded => "reading the log was interrupted",
            Failure::Killed => "the program was killed",
            Failure::Restarted => "the container was restarted",
            Failure::Removed => "the container was removed",
            Failure::EngineLost => "the connection to the container engine was lost",
        }
    }

    /// An error of a target's output that is this failure, with details for the record.
    pub fn error(self, details: impl fmt::Display) -> io::Error {
        io::Error::other(Failed { failure: self, details: details.to_string() })
    }

    /// The failure that an error of a target's output stands for.
    pub fn of(error: &io::Error) -> Failure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Failed>());
        match (inner, error.kind()) {
            (Some(failed), _) => failed.failure,
            (None, io::ErrorKind::ConnectionReset) => Failure::Reset,
            (None, _) => Failure::Broken,
        }
    }
}

#[derive(Debug)]
struct Failed {
    failure: Failure,
    details: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details)
    }
}

impl std::error::Error for Failed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_failure_and_its_details_apart() {
        let error = Failure::Gone.error("/run/pipe does not exist");
        assert_eq!(
            (Failure::of(&error), error.to_string().as_str()),
            (Failure::Gone, "/run/pipe does not exist")
        );
        assert_eq!(Failure::of(&io::ErrorKind::ConnectionReset.into()), Failure::Reset);
        assert_eq!(Failure::of(&io::Error::other("/etc/secret")), Failure::Broken);
    }
}
