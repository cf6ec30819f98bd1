//! How a program ends: exit codes as in sysexits.h. They let a unit file distinguish a broken configuration (do not
//! restart) from a temporary problem (restart).

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::json;

use super::columns::fit;
use super::printable::printable_lines;

/// Whether errors and remarks are written as JSON. Set once, before the first of them.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Lets errors and remarks be JSON from now on.
pub fn errors_as_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// A remark as standard error shows it, without a line break.
pub fn remark(program: &str, text: &str) -> String {
    match AS_JSON.load(Ordering::Relaxed) {
        true => json!({ "remark": text }).to_string(),
        false => format!("{program}: {text}"),
    }
}

/// The indent of an error's further lines on a terminal.
const INDENT: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// A failure without a code of its own.
    Failure,
    /// EX_USAGE: the command line is not valid.
    Usage,
    /// EX_DATAERR: the input is not valid.
    DataErr,
    /// EX_UNAVAILABLE: something that is needed is not available.
    Unavailable,
    /// EX_SOFTWARE: a fault of the program itself.
    Software,
    /// EX_IOERR: reading or writing failed.
    IoErr,
    /// EX_TEMPFAIL: trying again may help.
    TempFail,
    /// EX_NOPERM: not allowed.
    NoPerm,
    /// EX_CONFIG: the configuration is wrong. A restart does not help.
    Config,
}

impl Exit {
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

    /// The kind of an error that has no more exact one.
    const fn kind(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::Failure => "failure",
            Exit::Usage => "usage",
            Exit::DataErr => "data",
            Exit::Unavailable => "unavailable",
            Exit::Software => "internal",
            Exit::IoErr => "io",
            Exit::TempFail => "try_again",
            Exit::NoPerm => "not_allowed",
            Exit::Config => "configuration",
        }
    }

    /// The result of `main`. Reports an error on stderr, in one line with its causes.
    pub fn from_result(program: &str, result: Result<(), ExitError>) -> ExitCode {
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

/// Lets a closed pipe end the program without an error, as other commands do, for example before head(1). Not for
/// programs that write to sockets.
#[allow(unsafe_code)]
pub fn end_with_broken_pipe() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: this installs no handler, only the default; nothing else runs yet.
    // It cannot fail for a signal that exists.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// An error that ends a program, with its exit code.
#[derive(Debug)]
pub struct ExitError {
    pub exit: Exit,
    pub error: anyhow::Error,
    /// The kind, if there is a more exact one than that of the exit code.
    kind: Option<String>,
    /// The close code of a websocket.
    close: Option<u16>,
    /// The id of the session.
    session: Option<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    error: &'a str,
    code: u8,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

impl ExitError {
    /// An error with the kind of the exit code.
    pub fn new(exit: Exit, error: anyhow::Error) -> ExitError {
        ExitError { exit, error, kind: None, close: None, session: None }
    }

    #[must_use]
    pub fn of_kind(self, kind: impl Into<String>) -> ExitError {
        ExitError { kind: Some(kind.into()), ..self }
    }

    #[must_use]
    pub fn closed_with(self, code: u16) -> ExitError {
        ExitError { close: Some(code), ..self }
    }

    /// Sets the session, if it is known.
    #[must_use]
    pub fn in_session(self, session: Option<&str>) -> ExitError {
        ExitError { session: session.map(str::to_owned), ..self }
    }

    /// The kind of error, for programs. It is stable.
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(self.exit.kind())
    }

    /// Writes it to standard error. It may quote text from the network, so control characters are escaped.
    pub fn report(&self, program: &str) {
        let text = self.to_string();
        let text = printable_lines(&text);
        let line = match AS_JSON.load(Ordering::Relaxed) {
            true => self.as_json(&text),
            false => fit(&format!("{program}: {text}"), INDENT, &io::stderr()),
        };
        // Standard error may be closed.
        let _ = writeln!(io::stderr(), "{line}");
    }

    fn as_json(&self, text: &str) -> String {
        let (code, kind) = (self.exit.code(), self.kind());
        let report = Report { error: text, code, kind, close: self.close, session: self.session.as_deref() };
        // Strings and numbers always serialize.
        serde_json::to_string(&report).unwrap_or_default()
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// An error without an exit code is a plain failure.
impl From<anyhow::Error> for ExitError {
    fn from(error: anyhow::Error) -> ExitError {
        ExitError::new(Exit::Failure, error)
    }
}

/// Gives an error its exit code.
pub trait OrExit<T> {
    /// # Errors
    /// The same error, with this exit code.
    fn or_exit(self, exit: Exit) -> Result<T, ExitError>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, ExitError> {
        self.map_err(|err| ExitError::new(exit, err.into()))
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
    fn an_error_as_json_is_one_line_with_its_kind() {
        let plain = ExitError::new(Exit::Config, anyhow!("a\nb"));
        assert_eq!(plain.as_json("a\nb"), r#"{"error":"a\nb","code":78,"kind":"configuration"}"#);
        let closed = ExitError::new(Exit::NoPerm, anyhow!("x")).of_kind("token_used").closed_with(4409);
        assert_eq!(closed.as_json("x"), r#"{"error":"x","code":77,"kind":"token_used","close":4409}"#);
    }

    #[test]
    fn main_ends_with_the_code() {
        assert_eq!(Exit::from_result("test", Ok(())), ExitCode::SUCCESS);
        assert_eq!(Exit::from_result("test", Err(anyhow!("x")).or_exit(Exit::TempFail)), ExitCode::from(75));
    }
}
