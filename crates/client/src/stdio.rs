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

use service::pollable::pollable;

use super::peer_watch::is_hung_up;

/// Bytes per call where a call may block although the descriptor is ready: epoll(7) reports a terminal as writable
/// when it has room for one byte.
const BLOCKING_PIECE: usize = 64;

/// How often a socket is checked for a closed other end.
const CHECK_PERIOD: Duration = Duration::from_secs(1);

/// How long a short text may take: the user may have stopped the terminal with Ctrl-S.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Resolves when nothing reads standard output any more, even if nothing is written to it. Never resolves for files
/// and terminals.
pub(crate) async fn output_closed() {
    if closed(io::stdout().as_fd()).await.is_err() {
        // It cannot be watched, so the next write has to fail.
        std::future::pending::<()>().await;
    }
}

/// Writes a short text to standard output, unless it takes too long.
pub(crate) async fn write_briefly(bytes: &[u8]) {
    if let Ok(mut output) = Stdio::output() {
        // If it fails, nobody sees the terminal.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, output.write_all(bytes)).await;
    }
}

async fn closed(output: BorrowedFd<'_>) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(fstat(output)?.st_mode & SFlag::S_IFMT.bits());
    match kind {
        SFlag::S_IFIFO => drop(pollable(output.try_clone_to_owned()?)?.ready(Interest::ERROR).await?),
        SFlag::S_IFSOCK => {
            while !is_hung_up(output) {
                tokio::time::sleep(CHECK_PERIOD).await;
            }
        }
        _ => std::future::pending().await,
    }
    Ok(())
}

/// A descriptor of the process as an asynchronous stream.
pub(crate) struct Stdio {
    descriptor: Descriptor,
    /// Whether a call that would have to wait returns at once.
    nonblocking: bool,
    /// The flags to restore: the process that started this one may use the same pipe.
    flags: Option<OFlag>,
}

enum Descriptor {
    /// epoll(7) can wait for it: a pipe, a socket, a terminal.
    Pollable(AsyncFd<OwnedFd>),
    /// A regular file or /dev/null, which are always ready.
    File(OwnedFd),
}

impl Stdio {
    /// # Errors
    /// If standard input is closed.
    pub(crate) fn input() -> io::Result<Stdio> {
        Stdio::new(io::stdin().as_fd())
    }

    /// Shutting it down closes standard output for the whole program.
    ///
    /// # Errors
    /// If standard output is closed.
    pub(crate) fn output() -> io::Result<Stdio> {
        Stdio::new(io::stdout().as_fd())
    }

    fn new(descriptor: BorrowedFd<'_>) -> io::Result<Stdio> {
        let kind = SFlag::from_bits_truncate(fstat(descriptor)?.st_mode & SFlag::S_IFMT.bits());
        if descriptor.is_terminal()
            && let Some(pollable) = reopened(descriptor)
        {
            let descriptor = Descriptor::Pollable(pollable);
            return Ok(Stdio { descriptor, nonblocking: true, flags: None });
        }
        let owned = || descriptor.try_clone_to_owned();
        // epoll(7) refuses files that are always ready.
        let Ok(pollable) = pollable(owned()?) else {
            let descriptor = Descriptor::File(owned()?);
            return Ok(Stdio { descriptor, nonblocking: false, flags: None });
        };
        let mut flags = None;
        if kind == SFlag::S_IFIFO || kind == SFlag::S_IFSOCK {
            let before = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL)?);
            fcntl(descriptor, FcntlArg::F_SETFL(before | OFlag::O_NONBLOCK))?;
            flags = Some(before);
        }
        Ok(Stdio { descriptor: Descriptor::Pollable(pollable), nonblocking: flags.is_some(), flags })
    }

    /// How many bytes a call may move without blocking. `WouldBlock` if none.
    fn max_bytes(&self, descriptor: BorrowedFd<'_>, what: PollFlags) -> io::Result<usize> {
        if self.nonblocking {
            return Ok(usize::MAX);
        }
        let is_ready = poll(&mut [PollFd::new(descriptor, what)], PollTimeout::ZERO)? > 0;
        if is_ready { Ok(BLOCKING_PIECE) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }
}

/// Opens the same terminal again, to have flags of its own: a shell that shares the first descriptor expects blocking
/// mode. Fails for a terminal of another user, as after su(1).
fn reopened(descriptor: BorrowedFd<'_>) -> Option<AsyncFd<OwnedFd>> {
    let access = OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL).ok()?) & OFlag::O_ACCMODE;
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    pollable(open(path.as_str(), flags, Mode::empty()).ok()?).ok()
}

impl Drop for Stdio {
    fn drop(&mut self) {
        if let (Some(flags), Descriptor::Pollable(pollable)) = (self.flags, &self.descriptor) {
            // Fails only if the other end is gone.
            let _ = fcntl(pollable.get_ref(), FcntlArg::F_SETFL(flags));
        }
    }
}

impl AsyncRead for Stdio {
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
                    self.max_bytes(owned.as_fd(), PollFlags::POLLIN)?;
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

impl AsyncWrite for Stdio {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &self.descriptor {
            Descriptor::File(file) => {
                Poll::Ready(nix::unistd::write(file.as_fd(), buf).map_err(io::Error::from))
            }
            Descriptor::Pollable(pollable) => loop {
                let mut ready = ready!(pollable.poll_write_ready(cx))?;
                let tried = ready.try_io(|owned| {
                    let max = self.max_bytes(owned.as_fd(), PollFlags::POLLOUT)?;
                    Ok(nix::unistd::write(owned.as_fd(), &buf[..buf.len().min(max)])?)
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
        // The reader sees the end only when the program's own descriptor is closed, too. /dev/null takes its number,
        // so that nothing opened later is mistaken for standard output.
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
    fn large() -> Vec<u8> {
        (0..300_000_u32).map(|number| (number % 251) as u8).collect()
    }

    fn is_nonblocking(descriptor: impl AsFd) -> bool {
        OFlag::from_bits_truncate(fcntl(descriptor, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK)
    }

    #[tokio::test]
    async fn a_pipe_is_read_to_its_end_and_gets_its_flags_back() {
        let (read, mut write) = io::pipe().unwrap();
        let writer = thread::spawn(move || write.write_all(&large()).unwrap());
        let mut input = Stdio::new(read.as_fd()).unwrap();
        assert!(is_nonblocking(&read));
        let mut all = Vec::new();
        input.read_to_end(&mut all).await.unwrap();
        assert!(all == large());
        writer.join().unwrap();
        drop(input);
        assert!(!is_nonblocking(&read));
    }

    #[tokio::test]
    async fn a_write_waits_for_a_full_pipe() {
        let (mut read, write) = io::pipe().unwrap();
        let mut output = Stdio::new(write.as_fd()).unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            read.read_to_end(&mut all).map(|_| all)
        });
        output.write_all(&large()).await.unwrap();
        drop((output, write));
        assert!(reader.join().unwrap().unwrap() == large());
    }

    #[tokio::test]
    async fn a_closed_reader_is_noticed_although_nothing_is_written() {
        let (read, write) = io::pipe().unwrap();
        let mut gone = tokio::spawn(async move { closed(write.as_fd()).await });
        let is_early = tokio::time::timeout(Duration::from_millis(50), &mut gone).await.is_ok();
        assert!(!is_early);
        drop(read);
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_regular_file_is_read_to_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&large()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut all = Vec::new();
        Stdio::new(file.as_fd()).unwrap().read_to_end(&mut all).await.unwrap();
        assert!(all == large());
    }

    #[tokio::test]
    async fn a_terminal_stays_in_blocking_mode_and_does_not_block_the_program() {
        let ends = openpty(None, None).unwrap();
        let mut mode = tcgetattr(&ends.slave).unwrap();
        cfmakeraw(&mut mode);
        tcsetattr(&ends.slave, SetArg::TCSANOW, &mode).unwrap();
        let mut output = Stdio::new(ends.slave.as_fd()).unwrap();
        assert!(!is_nonblocking(&ends.slave));
        // Nothing reads the other end: a blocking write would hold up the timer, too.
        let text = large();
        let stuck = tokio::time::timeout(std::time::Duration::from_millis(50), output.write_all(&text)).await;
        assert!(stuck.is_err());
        // Input still arrives meanwhile.
        let mut master = std::fs::File::from(ends.master);
        master.write_all(b"key").unwrap();
        let mut typed = [0; 3];
        Stdio::new(ends.slave.as_fd()).unwrap().read_exact(&mut typed).await.unwrap();
        assert_eq!(&typed, b"key");
        let mut shown = [0; 1000];
        master.read_exact(&mut shown).unwrap();
        assert!(shown[..] == text[..1000]);
    }
}
