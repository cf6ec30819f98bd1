//! Ends a cell with its opener, whatever the cell's program does. Both have the same user, so a program can stop the cell
//! (SIGSTOP): it would not see that its opener has closed the connection, and systemd would wait for it forever.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long a cell may take to end its programs, before it is killed. Longer than a cell waits for them by itself.
const LAST_PROGRAMS: Duration = Duration::from_secs(12);

/// Which signal comes instead of SIGIO (fcntl(2)).
const F_SETSIG: libc::c_int = 10;

/// The opener's end. Dropping it kills the cell.
pub(crate) struct Lifeline(UnixStream);

impl Lifeline {
    /// A new one, and the end that is passed to the cell.
    pub(crate) fn pair() -> io::Result<(Lifeline, OwnedFd)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Lifeline(UnixStream::from_std(ours)?), theirs.into()))
    }

    /// Waits until the cell has ended by itself, which it does when its connection is closed.
    pub(crate) async fn let_end(mut self) {
        let _ = timeout(LAST_PROGRAMS, self.0.read(&mut [0])).await;
    }
}

/// From now on, the kernel kills this process when the other end is closed.
pub(crate) fn hold(end: OwnedFd) -> io::Result<Held> {
    let fd = end.as_raw_fd();
    let flags = Errno::result(control(fd, libc::F_GETFL, 0))?;
    // The process ID first: without it no signal is sent.
    let pid = nix::unistd::getpid().as_raw();
    for (command, value) in
        [(libc::F_SETOWN, pid), (F_SETSIG, libc::SIGKILL), (libc::F_SETFL, flags | libc::O_ASYNC)]
    {
        Errno::result(control(fd, command, value))?;
    }
    Ok(Held { _end: end })
}

/// The cell's end.
pub(crate) struct Held {
    _end: OwnedFd,
}

#[allow(unsafe_code)]
fn control(fd: libc::c_int, command: libc::c_int, value: libc::c_int) -> libc::c_int {
    // SAFETY: these commands take a number, and touch no memory of this process.
    unsafe { libc::fcntl(fd, command, value) }
}
