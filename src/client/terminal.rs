//! The user's own terminal: raw while a remote one is shown in it, and restored whatever happens.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Says something to the user, on a line of its own also while the terminal is raw.
pub fn say(text: &str) {
    let mut error = io::stderr().lock();
    let end = if error.is_terminal() { "\r\n" } else { "\n" };
    // Nobody may be reading.
    let _ = write!(error, "stream-relay: {text}{end}");
}

/// The terminal in raw mode; dropping it restores the mode it had.
pub struct Raw(Termios);

impl Raw {
    /// Makes standard input raw, if it is a terminal.
    pub fn enter() -> Option<Raw> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let before = tcgetattr(input.as_fd()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(input.as_fd(), SetArg::TCSANOW, &raw).ok()?;
        Some(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

#[allow(unsafe_code)]
mod ioctl {
    nix::ioctl_read_bad!(window_size, nix::libc::TIOCGWINSZ, nix::libc::winsize);
}

/// Columns and rows of the user's terminal.
#[allow(unsafe_code)]
pub fn size() -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one `winsize`, which lives here.
    unsafe { ioctl::window_size(io::stdin().as_raw_fd(), &mut size) }.ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}
