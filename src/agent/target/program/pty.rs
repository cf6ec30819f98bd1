//! The master side of a pseudo-terminal (pty(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};
use nix::unistd::{Pid, tcgetpgrp};
use tokio::io::unix::AsyncFd;

use crate::agent::target::opened::Window;
use crate::daemon::pollable::pollable;

/// What ends the input of a terminal where it has not been changed: Ctrl-D.
const DEFAULT_EOF: u8 = 0x04;

/// Opens a terminal: its master, non-blocking, and its slave. Both are closed in every child;
/// openpty(3) would leave them open for whatever is being forked at the same moment.
pub(super) fn open(window: Window) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags | OFlag::O_NONBLOCK)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = nix::fcntl::open(Path::new(&ptsname_r(&master)?), flags, Mode::empty())?;
    let mut settings = tcgetattr(&slave)?;
    // Erasing takes back a whole character, not its last byte.
    settings.input_flags.insert(InputFlags::IUTF8);
    tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
    let master = OwnedFd::from(master);
    set_window(&master, window)?;
    Ok((master, slave))
}

/// The master, shared by those who read, write and resize. With the last of them it is closed,
/// which hangs the terminal up.
#[derive(Clone)]
pub(super) struct Pty(Arc<AsyncFd<OwnedFd>>);

impl Pty {
    pub(super) fn new(master: OwnedFd) -> io::Result<Pty> {
        Ok(Pty(Arc::new(pollable(master)?)))
    }

    /// Tells the terminal its size; the program hears SIGWINCH where that changes it.
    pub(super) fn resize(&self, window: Window) {
        if window.cols > 0 && window.rows > 0 {
            // A terminal that is gone needs no size.
            let _ = set_window(self.0.get_ref(), window);
        }
    }

    /// The process group that keys go to.
    pub(super) fn foreground(&self) -> Option<Pid> {
        tcgetpgrp(self.0.get_ref()).ok().filter(|group| group.as_raw() > 0)
    }

    /// What says "end of input" to the program, when `is_line_begun` tells whether the last thing
    /// typed was not a line's end.
    pub(super) fn end_of_input(&self, is_line_begun: bool) -> Vec<u8> {
        let Ok(settings) = tcgetattr(self.0.get_ref()) else { return vec![DEFAULT_EOF] };
        let end = settings.control_chars[SpecialCharacterIndices::VEOF as usize];
        // In the middle of a line the first one only hands over what was typed (termios(3)).
        let is_by_lines = settings.local_flags.contains(LocalFlags::ICANON);
        vec![end; if is_by_lines && is_line_begun { 2 } else { 1 }]
    }
}

impl AsRef<AsyncFd<OwnedFd>> for Pty {
    fn as_ref(&self) -> &AsyncFd<OwnedFd> {
        &self.0
    }
}

fn set_window(master: &OwnedFd, window: Window) -> io::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and TIOCSWINSZ reads one `winsize` (TIOCSWINSZ(2const)).
    #[allow(unsafe_code)]
    let done = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    nix::errno::Errno::result(done)?;
    Ok(())
}
