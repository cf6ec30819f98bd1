//! How a target can fail after it was opened.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

/// A failure, with the only words that clients get about it. The details are for the host's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// In a way that has no variant of its own.
    Broken,
    /// The target reset its connection.
    Reset,
    /// The target was removed: a named pipe, a log's directory, a device.
    Gone,
    /// A part of a log cannot be read.
    Unreadable,
    /// The program that reads a log for the agent has ended.
    ReaderEnded,
    /// A signal ended the program, and its client has no control messages to get the exit status.
    Killed,
    /// The container was restarted: another run of it is going on.
    Restarted,
    /// The container does not exist any more.
    Removed,
    /// The connection to the container engine broke, or the engine does not know how the program ended.
    EngineLost,
}

impl Failure {
    /// Every failure, for tests.
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

    /// The reason that clients get.
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

    /// An error of a target's output that carries this failure, with details for the record.
    pub fn error(self, details: impl fmt::Display) -> io::Error {
        io::Error::other(Failed { failure: self, details: details.to_string() })
    }

    /// The failure that an error of a target's output carries, or its closest match.
    pub fn from_error(error: &io::Error) -> Failure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Failed>());
        match (inner, error.kind()) {
            (Some(failed), _) => failed.failure,
            (None, io::ErrorKind::ConnectionReset) => Failure::Reset,
            (None, _) => Failure::Broken,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{details}")]
struct Failed {
    failure: Failure,
    details: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_failure_and_its_details_apart() {
        let error = Failure::Gone.error("/run/pipe does not exist");
        assert_eq!(
            (Failure::from_error(&error), error.to_string().as_str()),
            (Failure::Gone, "/run/pipe does not exist")
        );
        assert_eq!(Failure::from_error(&io::ErrorKind::ConnectionReset.into()), Failure::Reset);
        assert_eq!(Failure::from_error(&io::Error::other("/etc/secret")), Failure::Broken);
    }
}
