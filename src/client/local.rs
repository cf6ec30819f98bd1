//! Standard input and output as asynchronous streams, without a thread that could block the program's end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::dup2_stdout;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::daemon::pollable::pollable;

/// What a terminal that is ready surely takes without blocking, in bytes.
const SURE: usize = 4096;

/// A descriptor of the process as an asynchronous stream.
pub struct Local {
    descriptor: Descriptor,
    /// The flags to restore: a pipe's end is shared with whoever started us.
    flags: Option<OFlag>,
}

enum Descriptor {
    /// Pipes, sockets, terminals: whatever epoll(7) can wait for.
    Pollable(AsyncFd<OwnedFd>),
    /// Regular files and /dev/null: always ready.
    File(OwnedFd),
}

impl Local {
    /// Standard input.
    ///
    /// # Errors
    /// When it is closed.
    pub fn input() -> io::Result<Local> {
        Local::of(io::stdin().as_fd())
    }

    /// Standard output. Shutting it down closes it for the whole program.
    ///
    /// # Errors
    /// When it is closed.
    pub fn output() -> io::Result<Local> {
        Local::of(io::stdout().as_fd())
    }

    fn of(descriptor: BorrowedFd<'_>) -> io::Result<Local> {
        let kind = SFlag::from_bits_truncate(fstat(descriptor)?.st_mode & SFlag::S_IFMT.bits());
        let owned = || descriptor.try_clone_to_owned();
        // epoll refuses what is always ready.
        let Ok(pollable) = pollable(owned()?) else {
            return Ok(Local { descriptor: Descriptor::File(owned()?), flags: None });
        };
        // Terminals stay in blocking mode: a shell that shares one would be confused by any other.
        let mut flags = None;
        if kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK {
            let before = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL)?);
            fcntl(descriptor, FcntlArg::F_SETFL(before | OFlag::O_NONBLOCK))?;
            flags = Some(before);
        }
        Ok(Local { descriptor: Descriptor::Pollable(pollable), flags })
    }

    /// How many bytes a call may move without blocking; none means not now.
    fn room(&self, descriptor: BorrowedFd<'_>, what: PollFlags) -> io::Result<usize> {
        if self.flags.is_some() {
            return Ok(usize::MAX);
        }
        let is_ready = poll(&mut [PollFd::new(descriptor, what)], PollTimeout::ZERO)? > 0;
        if is_ready { Ok(SURE) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let (Some(flags), Descriptor::Pollable(pollable)) = (self.flags, &self.descriptor) {
            // The other end may be gone; then nobody cares.
            let _ = fcntl(pollable.get_ref(), FcntlArg::F_SETFL(flags));
        }
    }
}

impl AsyncRead for Local {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = |descriptor: BorrowedFd<'_>, buf: &mut ReadBuf<'_>| -> io::Result<()> {
            let n = nix::unistd::read(descriptor, buf.initialize_unfilled())?;
            buf.advance(n);
            Ok(())
        };
        match &self.descriptor {
            Descriptor::File(file) => Poll::Ready(read(file.as_fd(), buf)),
            Descriptor::Pollable(pollable) => loop {
                let mut ready = ready!(pollable.poll_read_ready(cx))?;
                let tried = ready.try_io(|owned| {
                    self.room(owned.as_fd(), PollFlags::POLLIN)?;
                    read(owned.as_fd(), buf)
                });
                match tried {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(done) => return Poll::Ready(done),
                    Err(_would_block) => {}
                }
            },
        }
    }
}

impl AsyncWrite for Local {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &self.descriptor {
            Descriptor::File(file) => {
                Poll::Ready(nix::unistd::write(file.as_fd(), buf).map_err(io::Error::from))
            }
            Descriptor::Pollable(pollable) => loop {
                let mut ready = ready!(pollable.poll_write_ready(cx))?;
                let tried = ready.try_io(|owned| {
                    let room = self.room(owned.as_fd(), PollFlags::POLLOUT)?;
                    Ok(nix::unistd::write(owned.as_fd(), &buf[..buf.len().min(room)])?)
                });
                match tried {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(done) => return Poll::Ready(done),
                    Err(_would_block) => {}
                }
            },
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The reader sees the end only when the program's own descriptor is gone as well. Its number stays
        // taken, so that nothing opened later is mistaken for standard output.
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null");
        Poll::Ready(null.and_then(|null| Ok(dup2_stdout(null)?)))
    }
}
