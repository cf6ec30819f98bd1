//! A named pipe that some program writes to: a serial console's output, a log.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};
use serde::Deserialize;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::access::{Need, explain, open_to_read, open_unlinked, wrong_type};
use super::config::{TargetConfigError, absolute_file};
use super::kind::{Open, Settings};
use super::log;
use super::opened::{OpenError, Opened, Opening, blocking};
use super::params::{ParamError, Params};
use super::sandbox::Wants;
use crate::protocol::failure::Failure;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

/// How often the path is looked at: another fifo may have taken it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    path: PathBuf,
    #[serde(default)]
    follow_symlinks: bool,
    #[serde(default)]
    raw: bool,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fifo {
    path: PathBuf,
    follow_symlinks: bool,
    is_raw: bool,
}

impl Settings for Fifo {
    const NAME: &'static str = "fifo";
    /// Two readers of one pipe would each get a part of the bytes.
    const MAX_STREAMS: u32 = 1;
    const PROFILE: Profile = Profile::Bulk;
    const MOST_STREAMS: u32 = 1;
    type Raw = Raw;
    type Bound = Fifo;

    fn check(raw: Raw) -> Result<Fifo, TargetConfigError> {
        let path = absolute_file("path", raw.path)?;
        Ok(Fifo { path, follow_symlinks: raw.follow_symlinks, is_raw: raw.raw })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Ro]
    }

    fn bind(&self, _params: &mut Params<'_>) -> Result<Fifo, ParamError> {
        Ok(self.clone())
    }

    fn wants(&self) -> Vec<Wants> {
        vec![Wants::Path(self.path.clone(), Need::Read)]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let fifo = self.clone();
        blocking(move || fifo.look()).await
    }
}

impl Open for Fifo {
    async fn open(&self, _opening: Opening) -> Result<Opened, OpenError> {
        let fifo = self.clone();
        let (fifo, file) = blocking(move || fifo.open_end().map(|file| (fifo, file))).await?;
        let end = End::of(file).map_err(|error| OpenError::system(fifo.path.display(), error))?;
        // The service that writes must not wait for somebody who looks on.
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let source = log::Unblocked::new(Writers { fifo, end, next: None, looks });
        Ok(log::opened(source, self.is_raw, None))
    }
}

impl Fifo {
    /// Opens the reading end; waits for no writer.
    fn open_end(&self) -> Result<File, OpenError> {
        self.look()?;
        let path = self.real_path()?;
        let file = open_to_read(&path).map_err(|error| self.failed(&error))?;
        let metadata = file.metadata().map_err(|error| self.failed(&error))?;
        match metadata.file_type().is_fifo() {
            true => Ok(file),
            false => Err(wrong_type(&self.path, "a fifo", &metadata)),
        }
    }

    /// Looks without opening: an opened end would let a waiting writer begin, and closing it again
    /// would kill that writer with SIGPIPE. Also keeps devices from being opened at all.
    fn look(&self) -> Result<String, OpenError> {
        let path = self.real_path()?;
        let place = open_unlinked(&path, OFlag::O_PATH).map_err(|error| self.failed(&error))?;
        let metadata = File::from(place).metadata().map_err(|error| self.failed(&error))?;
        if !metadata.file_type().is_fifo() {
            return Err(wrong_type(&self.path, "a fifo", &metadata));
        }
        access(&path, AccessFlags::R_OK).map_err(|error| self.failed(&error.into()))?;
        Ok(format!("{} is a fifo and may be read", self.path.display()))
    }

    fn real_path(&self) -> Result<PathBuf, OpenError> {
        match self.follow_symlinks {
            true => fs::canonicalize(&self.path).map_err(|error| self.failed(&error)),
            false => Ok(self.path.clone()),
        }
    }

    fn failed(&self, error: &io::Error) -> OpenError {
        explain(&self.path, Need::Read, error)
    }
}

/// The bytes of one writer after the other.
struct Writers {
    fifo: Fifo,
    end: End,
    /// The fifo that has the path now, while the one before it may still have a writer.
    next: Option<End>,
    looks: Interval,
}

/// An opened end for reading, and which fifo it belongs to.
struct End {
    receiver: Receiver,
    /// Device and inode.
    identity: (u64, u64),
}

impl End {
    fn of(file: File) -> io::Result<End> {
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(End { receiver: Receiver::from_file(file)?, identity })
    }
}

impl Writers {
    /// Opens the fifo that was made in the place of ours, if there is one: a service that makes its
    /// fifo again at each start waits in open(2) until somebody reads it.
    fn look(&mut self) -> io::Result<()> {
        let newest = self.next.as_ref().unwrap_or(&self.end).identity;
        let Ok(path) = self.fifo.real_path() else { return Ok(()) };
        // Not there for a moment, or something else: ours may go on.
        let Ok(there) = path.symlink_metadata() else { return Ok(()) };
        if !there.file_type().is_fifo() || (there.dev(), there.ino()) == newest {
            return Ok(());
        }
        let Ok(file) = self.fifo.open_end() else { return Ok(()) };
        if let Some(before) = self.next.replace(End::of(file)?) {
            self.end = before;
        }
        Ok(())
    }
}

impl AsyncRead for Writers {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let writers = &mut *self;
        while writers.looks.poll_tick(cx).is_ready() {
            writers.look()?;
        }
        loop {
            if Pin::new(&mut writers.end.receiver).poll_read(cx, buf)?.is_pending() {
                let Some(next) = &mut writers.next else { return Poll::Pending };
                ready!(Pin::new(&mut next.receiver).poll_read(cx, buf))?;
                if buf.filled().len() == before && buf.remaining() > 0 {
                    // Its writer has come and gone: ours is not written to any more.
                    if let Some(next) = writers.next.take() {
                        writers.end = next;
                    }
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(next) = writers.next.take() {
                writers.end = next;
                continue;
            }
            // The last writer left, and this end would be readable (EOF) for ever. A new end is
            // quiet until the next writer comes. It is open before the old one closes, so a
            // writer in between still has a reader and its bytes stay in the pipe.
            let next = writers.fifo.open_end().map_err(|error| Failure::Gone.error(error))?;
            writers.end = End::of(next)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use nix::sys::stat;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::agent::target::testing::{in_time, target};

    fn fifo_in(dir: &Path) -> (PathBuf, crate::agent::target::Target) {
        let path = dir.join("fifo");
        nix::unistd::mkfifo(&path, stat::Mode::S_IRWXU).unwrap();
        let target = target(&format!("kind = 'fifo'\npath = '{}'", path.display()));
        (path, target)
    }

    fn write(path: &Path, text: &str) {
        fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    async fn expect(opened: &mut Opened, text: &str) {
        let mut said = vec![0; text.len()];
        in_time(opened.output.read_exact(&mut said)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&said), text);
    }

    #[tokio::test]
    async fn one_writer_after_the_other_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = fifo_in(dir.path());
        let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
        assert!(opened.input.is_none());
        for round in 0..50 {
            let text = format!("writer {round}\n");
            write(&path, &text);
            // Half of the time two writers have come and gone before anybody looks.
            if round % 2 == 0 {
                write(&path, "again\n");
                expect(&mut opened, &format!("{text}again\n")).await;
            } else {
                expect(&mut opened, &text).await;
            }
        }
    }

    #[tokio::test]
    async fn without_a_writer_the_reader_is_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = fifo_in(dir.path());
        let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
        write(&path, "x");
        expect(&mut opened, "x").await;
        let mut byte = [0];
        let mut read = tokio_test_task(opened.output.read(&mut byte));
        // The first poll sees the writer leave; after it nothing may wake the reader.
        let wakes = read.wakes_until_idle().await;
        assert!(wakes <= 2, "{wakes}");
        write(&path, "y");
        assert_eq!(in_time(read.done()).await.unwrap(), 1);
    }

    /// The service is the writer: it must get on, whatever the viewer does.
    #[tokio::test]
    async fn a_viewer_who_pauses_does_not_hold_up_the_writer() {
        use crate::agent::target::Ask;

        const LINES: usize = 100_000;
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = fifo_in(dir.path());
        let mut opened = in_time(target.open(Mode::Ro, None)).await.unwrap();
        (opened.asked)(Ask::Pause).unwrap();
        let line = format!("request {}\n", "x".repeat(40));
        let all = line.repeat(LINES);
        let writer = tokio::task::spawn_blocking({
            let path = path.clone();
            move || write(&path, &all)
        });
        // It has written 5 MB by then, and nothing was taken.
        in_time(writer).await.unwrap();
        (opened.asked)(Ask::Resume).unwrap();
        let (mut said, total) = (String::new(), LINES * line.len());
        // What was shown of the log, with the end of a line that a gap has torn, and what is said to be missing.
        let accounted = |said: &str| {
            let remarks = said.lines().filter(|line| line.starts_with('['));
            let missed =
                remarks.clone().map(|line| line[1..].split(' ').next().unwrap().parse::<usize>().unwrap());
            (
                said.len() - remarks.clone().map(|line| line.len() + 1).sum::<usize>()
                    + missed.sum::<usize>(),
                remarks.count(),
            )
        };
        while accounted(&said).0 < total {
            let mut bytes = vec![0; 1 << 20];
            let n = in_time(opened.output.read(&mut bytes)).await.unwrap();
            said.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
            while !said.ends_with('\n') {
                let n = in_time(opened.output.read(&mut bytes)).await.unwrap();
                said.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
            }
        }
        let (shown, remarks) = accounted(&said);
        assert!(remarks > 0 && (total..=total + remarks).contains(&shown), "{shown} {total} {remarks}");
        write(&path, "request again\n");
        expect(&mut opened, "request again\n").await;
    }

    /// Polls a future and counts how often it is woken.
    fn tokio_test_task<F: Future>(future: F) -> Counted<F> {
        Counted { future: Box::pin(future), polls: 0 }
    }

    struct Counted<F> {
        future: Pin<Box<F>>,
        polls: usize,
    }

    impl<F: Future> Counted<F> {
        /// Polls whenever woken, until nothing woke it for 300 ms: this is what is tested.
        async fn wakes_until_idle(&mut self) -> usize {
            let future = &mut self.future;
            let polls = &mut self.polls;
            let counted = std::future::poll_fn(|cx| {
                *polls += 1;
                future.as_mut().poll(cx)
            });
            let idle = tokio::time::timeout(std::time::Duration::from_millis(300), counted).await;
            assert!(idle.is_err(), "there was nothing to read");
            // The timeout itself polls once more at its end.
            self.polls - 1
        }

        async fn done(self) -> F::Output {
            self.future.await
        }
    }

    #[tokio::test]
    async fn looking_lets_no_writer_begin() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = fifo_in(dir.path());
        assert!(in_time(target.probe()).await.unwrap().ends_with("is a fifo and may be read"));
        let nonblocking = nix::fcntl::open(&path, OFlag::O_WRONLY | OFlag::O_NONBLOCK, stat::Mode::empty());
        assert_eq!(nonblocking.unwrap_err(), nix::errno::Errno::ENXIO);
    }

    #[tokio::test]
    async fn what_is_not_a_fifo_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = fifo_in(dir.path());
        let plain = dir.path().join("plain");
        fs::write(&plain, "text").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let open = async |path: &Path, more: &str| {
            let target = target(&format!("kind = 'fifo'\npath = '{}'\n{more}", path.display()));
            in_time(target.open(Mode::Ro, None)).await.err().map(|error| error.message)
        };
        assert!(open(&plain, "").await.unwrap().ends_with("is a regular file, not a fifo"));
        assert!(open(&link, "").await.unwrap().contains("follow_symlinks = true"));
        assert_eq!(open(&link, "follow_symlinks = true").await, None);
    }
}
