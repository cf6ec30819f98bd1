//! The master side of a pseudo-terminal (pty(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Weak};

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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

    /// The same terminal for one who must not keep it open.
    pub(super) fn downgrade(&self) -> WeakPty {
        WeakPty(Arc::downgrade(&self.0))
    }

    /// How the programs on the terminal read it now; `None` when it is gone.
    pub(super) fn reading(&self) -> Option<Reading> {
        let settings = tcgetattr(self.0.get_ref()).ok()?;
        let end_key = match settings.control_chars[SpecialCharacterIndices::VEOF as usize] {
            0 => DEFAULT_EOF,
            key => key,
        };
        let by_lines = settings.local_flags.contains(LocalFlags::ICANON);
        Some(Reading { by_lines, end_key, has_unread: self.has_unread().unwrap_or(true) })
    }

    /// Whether a program that reads the terminal would get something at once. Only the slave's side knows.
    fn has_unread(&self) -> io::Result<bool> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        // SAFETY: the master is open, and TIOCGPTPEER takes flags and gives a new descriptor (TIOCGPTPEER(2const)),
        // which has no other owner.
        #[allow(unsafe_code)]
        let slave = unsafe {
            let fd = libc::ioctl(self.0.get_ref().as_raw_fd(), libc::TIOCGPTPEER, flags.bits());
            OwnedFd::from_raw_fd(nix::errno::Errno::result(fd)?)
        };
        Ok(poll(&mut [PollFd::new(slave.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
    }

    /// Types one key; `false` when there is no room for it now.
    pub(super) fn type_key(&self, key: u8) -> bool {
        nix::unistd::write(self.0.get_ref(), &[key]).is_ok()
    }
}

/// How a terminal is read.
pub(super) struct Reading {
    /// By whole lines (canonical mode of termios(3)), where the end key has its meaning in the kernel.
    pub(super) by_lines: bool,
    /// The key that ends the input.
    pub(super) end_key: u8,
    /// Something was typed that no program has read yet, an end of input included.
    pub(super) has_unread: bool,
}

/// A terminal that closes when nobody else has it open.
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
    // SAFETY: the descriptor is open, and TIOCSWINSZ reads one `winsize` (TIOCSWINSZ(2const)).
    #[allow(unsafe_code)]
    let done = unsafe { libc::ioctl(master.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    nix::errno::Errno::result(done)?;
    Ok(())
}
