//! What is written to a fifo, by one writer after the other, also if the fifo is created again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::path::FifoPath;
use protocol::failure::Failure;

/// How long a removed fifo may be missing; the same as for directories of log files.
const REMADE_WITHIN: Duration = Duration::from_secs(2);

/// How often the path is checked, because another fifo may have replaced this one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The bytes of all writers, one writer after the other.
pub(super) struct Writers {
    fifo: FifoPath,
    end: End,
    /// The fifo that is at the path now, while the one before it may still have a writer.
    next: Option<End>,
    looks: Interval,
    /// Since when nothing is at the path.
    missing_since: Option<Instant>,
}

/// The reading end of a fifo.
struct End {
    receiver: Receiver,
    identity: (u64, u64),
}

impl End {
    fn new(file: File) -> io::Result<End> {
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(End { receiver: Receiver::from_file(file)?, identity })
    }
}

impl Writers {
    /// The bytes that are written to an opened fifo, which was found at `fifo`.
    pub(super) fn new(fifo: FifoPath, file: File) -> io::Result<Writers> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Writers { fifo, end: End::new(file)?, next: None, looks, missing_since: None })
    }

    /// Opens the fifo that has replaced ours, if there is one. A service that creates its fifo again at each start
    /// waits in open(2) until somebody reads.
    fn look(&mut self) -> io::Result<()> {
        let newest = self.next.as_ref().unwrap_or(&self.end).identity;
        let Ok(path) = self.fifo.real_path() else { return Ok(()) };
        // If the path is missing or is something else, ours may go on.
        let Ok(there) = path.symlink_metadata() else { return Ok(()) };
        if !there.file_type().is_fifo() || (there.dev(), there.ino()) == newest {
            return Ok(());
        }
        let Ok(file) = self.fifo.open_end() else { return Ok(()) };
        if let Some(before) = self.next.replace(End::new(file)?) {
            self.end = before;
        }
        Ok(())
    }

    /// Whether to wait for a missing fifo: a service that creates its fifo again removes it first.
    fn may_come_back(&mut self) -> bool {
        let is_missing =
            self.fifo.path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        is_missing && self.missing_since.get_or_insert_with(Instant::now).elapsed() < REMADE_WITHIN
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
                    // A writer came to the new fifo and left, so ours has no more writers.
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
            // The last writer left, and this end would report end of file forever. A new end is quiet until the next
            // writer comes. It is opened before the old one is closed, so that a writer in between still has a reader
            // and its bytes stay in the pipe.
            match writers.fifo.open_end() {
                Ok(next) => {
                    writers.missing_since = None;
                    writers.end = End::new(next)?;
                }
                // The next tick checks again.
                Err(_) if writers.may_come_back() => return Poll::Pending,
                // It may have come back just now.
                Err(_) => {
                    let next = writers.fifo.open_end().map_err(|error| Failure::Gone.error(error))?;
                    writers.end = End::new(next)?;
                }
            }
        }
    }
}
