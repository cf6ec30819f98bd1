//! What a program says, up to its last byte, from a pipe or a terminal's master.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{F_GETFL, F_SETFL, OFlag, fcntl};
use nix::unistd::read;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::daemon::pollable::pollable;

/// Bytes given at a time.
const CHUNK: usize = 64 * 1024;

/// The reading end of a program's pipe.
pub(super) fn pipe(end: OwnedFd) -> io::Result<Pipe> {
    let flags = OFlag::from_bits_retain(fcntl(&end, F_GETFL)?);
    fcntl(&end, F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(Pipe(pollable(end)?))
}

pub(super) struct Pipe(AsyncFd<OwnedFd>);

impl AsRef<AsyncFd<OwnedFd>> for Pipe {
    fn as_ref(&self) -> &AsyncFd<OwnedFd> {
        &self.0
    }
}

pub(super) struct ExecOutput<E> {
    end: E,
    /// Set once the program has ended, whoever else still holds the other end.
    over: CancellationToken,
    wait: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<E: AsRef<AsyncFd<OwnedFd>>> ExecOutput<E> {
    pub(super) fn new(end: E, over: CancellationToken) -> ExecOutput<E> {
        let wait = Box::pin(over.clone().cancelled_owned());
        ExecOutput { end, over, wait }
    }
}

impl<E: AsRef<AsyncFd<OwnedFd>> + Unpin> AsyncRead for ExecOutput<E> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let fd = this.end.as_ref();
        loop {
            if this.over.is_cancelled() || this.wait.as_mut().poll(cx).is_ready() {
                // All that the program wrote is in the kernel by now. Waiting for an end of file
                // would be waiting for what it left in the background.
                return Poll::Ready(match read_into(fd.get_ref(), buf) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                    done => done,
                });
            }
            let mut guard = ready!(fd.poll_read_ready(cx))?;
            match guard.try_io(|fd| read_into(fd.get_ref(), buf)) {
                Ok(done) => return Poll::Ready(done),
                Err(_would_block) => {}
            }
        }
    }
}

fn read_into(fd: &OwnedFd, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    let wanted = buf.remaining().min(CHUNK);
    loop {
        match read(fd, buf.initialize_unfilled_to(wanted)) {
            Ok(count) => {
                buf.advance(count);
                return Ok(());
            }
            // A terminal that no program has open any more (Linux says so instead of end of file).
            Err(Errno::EIO) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
