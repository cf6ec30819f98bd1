//! The master side of a pseudo-terminal (pty(7)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Weak};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, tcgetattr, tcsetattr};
use nix::unistd::{Pid, tcgetpgrp};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;

use crate::support::opened::Window;
use service::pollable::pollable;

/// The key that ends the input of a terminal by default: Ctrl-D.
const DEFAULT_EOF: u8 = 0x04;

/// Opens a terminal: its master, non-blocking, and its slave. Both are close-on-exec; openpty(3) would leave them open
/// in a child that is forked at the same moment.
pub(super) fn open(window: Window) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags | OFlag::O_NONBLOCK)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = nix::fcntl::open(Path::new(&ptsname_r(&master)?), flags, Mode::empty())?;
    let mut settings = tcgetattr(&slave)?;
    // Backspace erases a whole character instead of its last byte.
    settings.input_flags.insert(InputFlags::IUTF8);
    tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
    let master = OwnedFd::from(master);
    set_window(&master, window)?;
    Ok((master, slave))
}

/// The master, shared by those who read, write and resize. It is closed with the last of them, which hangs up the
/// terminal.
#[derive(Clone)]
pub(super) struct Pty(Arc<AsyncFd<OwnedFd>>);

impl Pty {
    pub(super) fn new(master: OwnedFd) -> io::Result<Pty> {
        Ok(Pty(Arc::new(pollable(master)?)))
    }

    /// Sets the terminal's size. The program receives SIGWINCH if this changes it.
    pub(super) fn resize(&self, window: Window) {
        if window.cols > 0 && window.rows > 0 {
            // A terminal that is gone needs no size.
            let _ = set_window(self.0.get_ref(), window);
        }
    }

    pub(super) fn foreground(&self) -> Option<Pid> {
        tcgetpgrp(self.0.get_ref()).ok().filter(|group| group.as_raw() > 0)
    }

    /// The same terminal, for users that must not keep it open.
    pub(super) fn downgrade(&self) -> WeakPty {
        WeakPty(Arc::downgrade(&self.0))
    }

    /// Whether no program has the terminal open: each has closed it, or it was hung up (vhangup(2)). It may be opened
    /// again.
    pub(super) fn is_hung_up(&self) -> bool {
        let mut master = [PollFd::new(self.0.get_ref().as_fd(), PollFlags::empty())];
        let _ = poll(&mut master, PollTimeout::ZERO);
        master[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }

    /// The master, registered with the runtime a second time, because the first registration reports it as closed
    /// forever.
    pub(super) fn registered_again(&self) -> io::Result<AsyncFd<OwnedFd>> {
        pollable(self.0.get_ref().try_clone()?)
    }

    /// How the programs on the terminal read it now; `None` when it is gone.
    pub(super) fn reading(&self) -> Option<Reading> {
        let settings = tcgetattr(self.0.get_ref()).ok()?;
        let end_key = match settings.control_chars[SpecialCharacterIndices::VEOF as usize] {
            0 => DEFAULT_EOF,
            key => key,
        };
        let by_lines = settings.local_flags.contains(LocalFlags::ICANON);
        // Input for a terminal that is hung up would be lost.
        let has_unread = self.is_hung_up() || self.has_unread().unwrap_or(true);
        Some(Reading { by_lines, end_key, has_unread })
    }

    /// Whether a read by a program would return at once. Only the slave's side knows.
    fn has_unread(&self) -> io::Result<bool> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        // TIOCGPTPEER(2const) takes all flags of open(2).
        let nonblock = OpenptFlags::from_bits_retain(OFlag::O_NONBLOCK.bits().cast_unsigned());
        let slave = ioctl_tiocgptpeer(self.0.get_ref(), flags | nonblock)?;
        Ok(poll(&mut [PollFd::new(slave.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
    }

    /// Types one key; `false` if there is no room for it now.
    pub(super) fn type_key(&self, key: u8) -> bool {
        nix::unistd::write(self.0.get_ref(), &[key]).is_ok()
    }
}

/// How a terminal is read.
pub(super) struct Reading {
    /// By lines (canonical mode of termios(3)), in which the kernel handles the end key.
    pub(super) by_lines: bool,
    /// The key that ends the input.
    pub(super) end_key: u8,
    /// Whether a program has yet to read some input, including an end of input; also true if no program has it open.
    pub(super) has_unread: bool,
}

/// A reference that does not keep the terminal open.
pub(super) struct WeakPty(Weak<AsyncFd<OwnedFd>>);

impl WeakPty {
    pub(super) fn upgrade(&self) -> Option<Pty> {
        self.0.upgrade().map(Pty)
    }
}

impl AsRef<AsyncFd<OwnedFd>> for Pty {
    fn as_ref(&self) -> &AsyncFd<OwnedFd> {
        &self.0
    }
}

fn set_window(master: &OwnedFd, window: Window) -> io::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.cols, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(master, size)?)
}
