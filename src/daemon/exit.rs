//! How a program ends: exit codes after sysexits.h, so that a unit file can tell a broken
//! configuration (do not restart) from a passing trouble (do).

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use super::printable::printable_lines;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// Failed in a way that has no word of its own.
    Failure,
    /// EX_USAGE: the command line makes no sense.
    Usage,
    /// EX_DATAERR: what was given to work on is wrong.
    DataErr,
    /// EX_UNAVAILABLE: something that is needed is not there.
    Unavailable,
    /// EX_SOFTWARE: a fault of the program itself.
    Software,
    /// EX_IOERR: reading or writing failed.
    IoErr,
    /// EX_TEMPFAIL: trying again may help.
    TempFail,
    /// EX_NOPERM: not allowed.
    NoPerm,
    /// EX_CONFIG: the configuration is wrong; a restart will not help.
    Config,
}

impl Exit {
    /// The exit status.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Failure => 1,
            Exit::Usage => 64,
            Exit::DataErr => 65,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::IoErr => 74,
            Exit::TempFail => 75,
            Exit::NoPerm => 77,
            Exit::Config => 78,
        }
    }

    /// Ends `main`: an error goes to stderr as one line, with its causes.
    pub fn of(program: &str, result: Result<(), ExitError>) -> ExitCode {
        match result {
            Ok(()) => Exit::Ok.into(),
            Err(err) => {
                err.report(program);
                err.exit.into()
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// For commands that print: a reader who has seen enough, such as head(1), ends them quietly, as it does
/// other programs. Not for programs that write to sockets.
#[allow(unsafe_code)]
pub fn end_with_broken_pipe() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no handler is installed, only the system's own default; nothing else runs yet.
    // It cannot fail for a signal that exists.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// An error that knows the exit code of the program it ends.
#[derive(Debug)]
pub struct ExitError {
    /// What the exit code says.
    pub exit: Exit,
    /// What happened.
    pub error: anyhow::Error,
}

impl ExitError {
    /// Says it on standard error. It may quote what came over the network, so nothing in it acts on a terminal.
    pub fn report(&self, program: &str) {
        // Nobody may be reading.
        let _ = writeln!(io::stderr(), "{program}: {}", printable_lines(&self.to_string()));
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// An error that nobody gave an exit code is a plain failure.
impl From<anyhow::Error> for ExitError {
    fn from(error: anyhow::Error) -> ExitError {
        ExitError { exit: Exit::Failure, error }
    }
}

/// Gives an error its exit code on the way to `main`.
pub trait OrExit<T> {
    /// The error ends the program with `exit`.
    ///
    /// # Errors
    /// The same error, with its exit code.
    fn or_exit(self, exit: Exit) -> Result<T, ExitError>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, ExitError> {
        self.map_err(|err| ExitError { exit, error: err.into() })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    fn run() -> Result<(), ExitError> {
        Err(anyhow!("inner")).context("outer")?;
        Ok(())
    }

    #[test]
    fn errors_carry_their_code_and_causes() {
        let err = "x".parse::<u8>().context("port").or_exit(Exit::Config).unwrap_err();
        assert_eq!((err.exit.code(), err.to_string().as_str()), (78, "port: invalid digit found in string"));
        let err = run().unwrap_err();
        assert_eq!((err.exit, err.to_string().as_str()), (Exit::Failure, "outer: inner"));
    }

    #[test]
    fn main_ends_with_the_code() {
        assert_eq!(Exit::of("test", Ok(())), ExitCode::SUCCESS);
        assert_eq!(Exit::of("test", Err(anyhow!("x")).or_exit(Exit::TempFail)), ExitCode::from(75));
    }
}
