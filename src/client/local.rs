//! Standard input and output as asynchronous streams, without a thread that could block the program's end.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::dup2_stdout;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};

use super::door::is_hung_up;
use crate::daemon::pollable::pollable;

/// How much is moved at once where a call may block although the descriptor is ready, in bytes. A terminal is
/// writable when it has room for one.
const LITTLE: usize = 64;

/// The pause between two looks at a socket whose other end may have closed.
const LOOK: Duration = Duration::from_secs(1);

/// Resolves when nobody reads standard output any more, also while nothing is written to it. Never for files and
/// terminals.
pub async fn is_unread() {
    if until_unread(io::stdout().as_fd()).await.is_err() {
        // What cannot be watched shows when it is written to.
        std::future::pending::<()>().await;
    }
}

/// Writes a little to standard output, if it takes it soon: a terminal may be stopped by Ctrl-S.
pub async fn write_soon(bytes: &[u8]) {
    if let Ok(mut output) = Local::output() {
        // Then nobody sees it.
        let _ = tokio::time::timeout(LOOK, output.write_all(bytes)).await;
    }
}

async fn until_unread(output: BorrowedFd<'_>) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(fstat(output)?.st_mode & SFlag::S_IFMT.bits());
    match kind {
        SFlag::S_IFIFO => drop(pollable(output.try_clone_to_owned()?)?.ready(Interest::ERROR).await?),
        SFlag::S_IFSOCK => {
            while !is_hung_up(output) {
                tokio::time::sleep(LOOK).await;
            }
        }
        _ => std::future::pending().await,
    }
    Ok(())
}

/// A descriptor of the process as an asynchronous stream.
pub struct Local {
    descriptor: Descriptor,
    /// Whether a call that cannot go on returns at once.
    nonblocking: bool,
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
        if descriptor.is_terminal()
            && let Some(pollable) = reopened(descriptor)
        {
            let descriptor = Descriptor::Pollable(pollable);
            return Ok(Local { descriptor, nonblocking: true, flags: None });
        }
        let owned = || descriptor.try_clone_to_owned();
        // epoll refuses what is always ready.
        let Ok(pollable) = pollable(owned()?) else {
            let descriptor = Descriptor::File(owned()?);
            return Ok(Local { descriptor, nonblocking: false, flags: None });
        };
        let mut flags = None;
        if kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK {
            let before = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL)?);
            fcntl(descriptor, FcntlArg::F_SETFL(before | OFlag::O_NONBLOCK))?;
            flags = Some(before);
        }
        Ok(Local { descriptor: Descriptor::Pollable(pollable), nonblocking: flags.is_some(), flags })
    }

    /// How many bytes a call may move without blocking; none means not now.
    fn room(&self, descriptor: BorrowedFd<'_>, what: PollFlags) -> io::Result<usize> {
        if self.nonblocking {
            return Ok(usize::MAX);
        }
        let is_ready = poll(&mut [PollFd::new(descriptor, what)], PollTimeout::ZERO)? > 0;
        if is_ready { Ok(LITTLE) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

/// The same terminal opened once more, with flags of its own: a shell that shares the first would be confused
/// by any but blocking mode. Not possible for a terminal of another user, as after su(1).
fn reopened(descriptor: BorrowedFd<'_>) -> Option<AsyncFd<OwnedFd>> {
    let access = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL).ok()?) & OFlag::O_ACCMODE;
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    pollable(open(path.as_str(), flags, Mode::empty()).ok()?).ok()
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::thread;

    use nix::pty::openpty;
    use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
    use tokio::io::AsyncReadExt;

    use super::*;

    /// More than a pipe or a terminal holds.
    fn much() -> Vec<u8> {
        (0..300_000_u32).map(|number| (number % 251) as u8).collect()
    }

    fn is_nonblocking(descriptor: impl AsFd) -> bool {
        OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK)
    }

    #[tokio::test]
    async fn a_pipe_is_read_to_its_end_and_given_back_as_it_was() {
        let (read, mut write) = io::pipe().unwrap();
        let writer = thread::spawn(move || write.write_all(&much()).unwrap());
        let mut input = Local::of(read.as_fd()).unwrap();
        assert!(is_nonblocking(&read));
        let mut all = Vec::new();
        input.read_to_end(&mut all).await.unwrap();
        assert!(all == much());
        writer.join().unwrap();
        drop(input);
        assert!(!is_nonblocking(&read));
    }

    #[tokio::test]
    async fn a_pipe_that_is_full_is_waited_for() {
        let (mut read, write) = io::pipe().unwrap();
        let mut output = Local::of(write.as_fd()).unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            read.read_to_end(&mut all).map(|_| all)
        });
        output.write_all(&much()).await.unwrap();
        drop((output, write));
        assert!(reader.join().unwrap().unwrap() == much());
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_is_noticed_though_nothing_is_written() {
        let (read, write) = io::pipe().unwrap();
        let mut gone = tokio::spawn(async move { until_unread(write.as_fd()).await });
        let is_early = tokio::time::timeout(Duration::from_millis(50), &mut gone).await.is_ok();
        assert!(!is_early);
        drop(read);
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_regular_file_is_read_to_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&much()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut all = Vec::new();
        Local::of(file.as_fd()).unwrap().read_to_end(&mut all).await.unwrap();
        assert!(all == much());
    }

    #[tokio::test]
    async fn a_terminal_stays_blocking_and_blocks_nobody() {
        let ends = openpty(None, None).unwrap();
        let mut mode = tcgetattr(&ends.slave).unwrap();
        cfmakeraw(&mut mode);
        tcsetattr(&ends.slave, SetArg::TCSANOW, &mode).unwrap();
        let mut output = Local::of(ends.slave.as_fd()).unwrap();
        assert!(!is_nonblocking(&ends.slave));
        // Nobody reads the other end: a write that blocked would hold up the timer, too.
        let text = much();
        let stuck = tokio::time::timeout(std::time::Duration::from_millis(50), output.write_all(&text)).await;
        assert!(stuck.is_err());
        // What somebody types arrives meanwhile.
        let mut master = std::fs::File::from(ends.master);
        master.write_all(b"key").unwrap();
        let mut typed = [0; 3];
        Local::of(ends.slave.as_fd()).unwrap().read_exact(&mut typed).await.unwrap();
        assert_eq!(&typed, b"key");
        let mut shown = [0; 1000];
        master.read_exact(&mut shown).unwrap();
        assert!(shown[..] == text[..1000]);
    }
}
