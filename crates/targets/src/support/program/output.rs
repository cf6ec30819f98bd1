//! A program's output, up to its last byte, from a pipe or a terminal's master.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{F_GETFL, F_SETFL, OFlag, fcntl};
use nix::unistd::read;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::hangup::PAUSES;
use super::pty::Pty;
use net::backoff::Backoff;
use service::pollable::pollable;

/// Bytes given at a time.
const CHUNK: usize = 64 * 1024;

/// The end of the program, even if others still hold the other end of its output.
struct ProgramExit {
    over: CancellationToken,
    wait: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl ProgramExit {
    fn new(over: CancellationToken) -> ProgramExit {
        let wait = Box::pin(over.clone().cancelled_owned());
        ProgramExit { over, wait }
    }

    /// Whether the program has ended; if not, its end wakes the task.
    fn is_now(&mut self, cx: &mut Context<'_>) -> bool {
        self.over.is_cancelled() || self.wait.as_mut().poll(cx).is_ready()
    }
}

/// The reading end of a program's pipe.
pub(super) struct PipeOutput {
    pipe: AsyncFd<OwnedFd>,
    exit: ProgramExit,
}

impl PipeOutput {
    pub(super) fn new(end: OwnedFd, exited: CancellationToken) -> io::Result<PipeOutput> {
        let flags = OFlag::from_bits_retain(fcntl(&end, F_GETFL)?);
        fcntl(&end, F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(PipeOutput { pipe: pollable(end)?, exit: ProgramExit::new(exited) })
    }
}

impl AsyncRead for PipeOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.exit.is_now(cx) {
                return Poll::Ready(read_rest(self.pipe.get_ref(), buf));
            }
            let mut guard = ready!(self.pipe.poll_read_ready(cx))?;
            match guard.try_io(|fd| Ok(read_into(fd.get_ref(), buf)?)) {
                Ok(done) => return Poll::Ready(done),
                Err(_would_block) => {}
            }
        }
    }
}

/// A program's output on a terminal. A terminal that is not open in any program may be opened again, so only the end of
/// the program ends the output.
pub(super) struct PtyOutput {
    pty: Pty,
    /// The descriptor to wait for, after the terminal came back from a hang-up.
    again: Option<AsyncFd<OwnedFd>>,
    /// The pause before the next check of a terminal that is hung up.
    away: Option<(Pin<Box<Sleep>>, Backoff)>,
    exit: ProgramExit,
}

impl PtyOutput {
    pub(super) fn new(pty: Pty, exited: CancellationToken) -> PtyOutput {
        PtyOutput { pty, again: None, away: None, exit: ProgramExit::new(exited) }
    }

    fn look_later(&mut self, mut pauses: Backoff) {
        self.away = Some((Box::pin(sleep(pauses.wait())), pauses));
    }
}

impl AsyncRead for PtyOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.exit.is_now(cx) {
                return Poll::Ready(read_rest(this.pty.as_ref().get_ref(), buf));
            }
            if let Some((pause, _)) = &mut this.away {
                ready!(pause.as_mut().poll(cx));
                match this.away.take() {
                    Some((_, pauses)) if this.pty.is_hung_up() => this.look_later(pauses),
                    _ => this.again = Some(this.pty.registered_again()?),
                }
                continue;
            }
            let fd = this.again.as_ref().unwrap_or(this.pty.as_ref());
            let mut guard = ready!(fd.poll_read_ready(cx))?;
            match guard.try_io(|fd| match read_into(fd.get_ref(), buf) {
                // No program has it open now, which Linux reports instead of an end of file.
                Err(Errno::EIO) => Ok(false),
                done => Ok(done.map(|()| true)?),
            }) {
                Ok(Ok(true)) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Ok(Ok(false)) => this.look_later(PAUSES),
                // It was hung up and is back already. The runtime would report it as ready forever.
                Err(_would_block) if guard.ready().is_read_closed() => this.look_later(PAUSES),
                Err(_would_block) => {}
            }
        }
    }
}

/// Reads the rest at the end of the program, which is all in the kernel by now. Waiting for an end of file would mean
/// to wait for its background processes.
fn read_rest(fd: &OwnedFd, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    match read_into(fd, buf) {
        Err(Errno::EAGAIN | Errno::EIO) => Ok(()),
        done => Ok(done?),
    }
}

fn read_into(fd: &OwnedFd, buf: &mut ReadBuf<'_>) -> Result<(), Errno> {
    let wanted = buf.remaining().min(CHUNK);
    loop {
        match read(fd, buf.initialize_unfilled_to(wanted)) {
            Ok(count) => {
                buf.advance(count);
                return Ok(());
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}
