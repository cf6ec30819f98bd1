//! The user's own terminal: raw while it shows a remote one, and restored afterwards.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use service::exit::remark;

/// Prints a remark for the user on a line of its own, even if the terminal is raw.
pub(crate) fn notify(text: &str) {
    let mut error = io::stderr().lock();
    let end = if error.is_terminal() { "\r\n" } else { "\n" };
    // Standard error may be closed.
    let _ = write!(error, "{}{end}", remark("stream-relay", text));
}

/// Keeps standard input in raw mode. Dropping it restores the mode from before.
pub(crate) struct RawGuard(Termios);

impl RawGuard {
    /// None if standard input is not a terminal.
    pub(crate) fn enter() -> Option<RawGuard> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let before = tcgetattr(input.as_fd()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(input.as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(RawGuard(before))
    }
}

impl Drop for RawGuard {
    fn drop(&mut self) {
        // Fails if the terminal is gone.
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

/// The columns and rows of the user's terminal.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdin()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
