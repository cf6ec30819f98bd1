//! A pseudo-terminal: the master end as bytes, its window size, and the slave for a process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::{read, write};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::Command;

use super::Window;
use crate::daemon::pollable::pollable;

/// What ends the input of a terminal in its usual mode: VEOF, Ctrl-D (termios(3)).
const END_OF_TRANSMISSION: u8 = 0x04;

/// The master end. Clones are the same terminal.
#[derive(Clone)]
pub struct Pty(Arc<AsyncFd<OwnedFd>>);

#[allow(unsafe_code)]
mod ioctl {
    use nix::{ioctl_none_bad, ioctl_write_ptr_bad, libc};
    ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);
    ioctl_none_bad!(take_controlling_terminal, libc::TIOCSCTTY);
}

impl Pty {
    /// A new pseudo-terminal, and its slave. Both are closed in processes that are not meant to have them.
    pub fn open(window: Window) -> io::Result<(Pty, File)> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        // std opens with O_CLOEXEC.
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(ptsname_r(&master)?)?;
        let pty = Pty(Arc::new(pollable(master.as_fd().try_clone_to_owned()?)?));
        pty.resize(window);
        Ok((pty, slave))
    }

    /// Tells the terminal its size; the foreground processes get SIGWINCH.
    #[allow(unsafe_code)]
    pub fn resize(&self, window: Window) {
        let size = Winsize { ws_row: window.rows, ws_col: window.cols, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open as long as `self`, and the kernel only reads `size`.
        // A terminal that is closing has no size: nothing is lost.
        let _ = unsafe { ioctl::set_window_size(self.0.as_raw_fd(), &size) };
    }
}

/// Makes `command` run on the terminal, as the leader of a session of its own.
#[allow(unsafe_code)]
pub fn attach(command: &mut Command, slave: &File) -> io::Result<()> {
    let end = || -> io::Result<OwnedFd> { Ok(slave.try_clone()?.into()) };
    command.stdin(end()?).stdout(end()?).stderr(end()?);
    // SAFETY: between fork and exec only two system calls are made, both async-signal-safe; nothing is
    // allocated and no lock is taken.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            // Standard input is the slave by now.
            ioctl::take_controlling_terminal(0)?;
            Ok(())
        });
    }
    Ok(())
}

impl AsyncRead for Pty {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let space = buf.initialize_unfilled();
            match ready.try_io(|master| read(master.get_ref(), space).map_err(io::Error::from)) {
                Ok(Ok(n)) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                // Linux says EIO when the last process has closed the slave: that is the end of file.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            match ready.try_io(|master| write(master.get_ref(), buf).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A terminal has no end of its own: the one who types ends it with Ctrl-D.
        self.poll_write(cx, &[END_OF_TRANSMISSION]).map_ok(|_| ())
    }
}
