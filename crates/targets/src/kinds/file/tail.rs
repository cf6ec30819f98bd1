//! The bytes of a log's files, one file after the other, as one stream. It ends only with the log's directory.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, Inotify};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::changed::Changed;
use super::location::path_of;
use super::open_file::{CHUNK, OpenFile};
use super::text::{Reached, ReadResult};
use super::watcher::{New, Watcher, identity};
use crate::support::log::Aside;
use protocol::failure::Failure;

/// How many files are held open that nobody has written to yet. A writer that still uses an older file after so many
/// rotations is not waited for.
const LATER_FILES: usize = 4;

/// How many files are remembered that were left and may come back: a link that is changed back.
const LEFT_FILES: usize = 4;

/// After so long, a reader may have missed something if the file was truncated.
const LATE: Duration = Duration::from_secs(1);

pub(super) struct Tail {
    current: OpenFile,
    /// The files that took the name since, oldest first.
    later: VecDeque<OpenFile>,
    /// The read positions of files that were left, by device and inode number.
    left: VecDeque<((u64, u64), Reached)>,
    files: mpsc::UnboundedReceiver<New>,
    /// Whether the watcher has ended, so that no other file will come.
    is_last: bool,
    inotify: Arc<Inotify>,
    /// Whether the kernel was asked to report the next write to these files.
    is_armed: bool,
    changed: Arc<Changed>,
    /// When the end of the current file was seen, if no other file is known to follow.
    at_end: Option<Instant>,
}

impl Tail {
    pub(super) fn new(
        first: New,
        offset: u64,
        watcher: &Watcher,
        files: mpsc::UnboundedReceiver<New>,
    ) -> Tail {
        Tail {
            current: OpenFile::new(first, offset),
            later: VecDeque::new(),
            left: VecDeque::new(),
            files,
            is_last: false,
            inotify: watcher.inotify(),
            is_armed: false,
            changed: watcher.changed(),
            at_end: None,
        }
    }

    fn take_new_files(&mut self, cx: &mut Context<'_>) {
        while !self.is_last && self.later.len() < LATER_FILES {
            match self.files.poll_recv(cx) {
                Poll::Ready(Some(new)) => {
                    self.later.push_back(OpenFile::new(new, 0));
                    self.is_armed = false;
                }
                Poll::Ready(None) => self.is_last = true,
                Poll::Pending => return,
            }
        }
    }

    /// Whether the writer has left the current file, because a later one has its first byte. Until then the writer may
    /// still hold the old one (logrotate's `create` without `copytruncate`).
    fn is_finished(&self) -> io::Result<bool> {
        if self.later.len() >= LATER_FILES || self.is_last && !self.later.is_empty() {
            return Ok(true);
        }
        for open in &self.later {
            // Another file that existed in between is also a sign.
            if open.missed > 0 || open.text.file.metadata()?.len() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Continues with the next file. Returns a remark about the change.
    fn switch(&mut self) -> io::Result<Aside> {
        let Some(next) = self.later.pop_front() else { return Ok(Aside::NextFile) };
        let old = std::mem::replace(&mut self.current, next);
        if let Some(watch) = old.watch {
            // The watch is already gone if it has reported its one event.
            let _ = self.inotify.rm_watch(watch);
        }
        let left = identity(&old.text.file)?;
        self.left.retain(|(file, _)| *file != left);
        self.left.push_back((left, old.text.reached()));
        if self.left.len() > LEFT_FILES {
            self.left.pop_front();
        }
        let current = identity(&self.current.text.file)?;
        if let Some((_, reached)) = self.left.iter().find(|(file, _)| *file == current) {
            self.current.text.go_on(reached.clone());
            // The inode number may now belong to another file, whose bytes differ.
            self.current.is_guessed = true;
        }
        self.at_end = None;
        Ok(match self.current.missed {
            0 => Aside::NextFile,
            missed => Aside::MissedFiles(missed),
        })
    }

    /// Starts over with a file that was truncated or written again. Returns a remark about that, if any.
    fn begin_again(&mut self) -> Option<Aside> {
        let is_late = self.at_end.is_none_or(|at_end| {
            // While the kernel is asked to report a write, no report means no write.
            let since = if self.is_armed { self.changed.since() } else { Some(at_end) };
            since.is_some_and(|since| since.elapsed() > LATE)
        });
        self.current.begin_again();
        self.at_end = Some(Instant::now());
        if std::mem::take(&mut self.current.is_guessed) {
            return None;
        }
        Some(if is_late { Aside::Truncated } else { Aside::NextFile })
    }

    fn arm(&mut self) -> io::Result<()> {
        for open in std::iter::once(&mut self.current).chain(&mut self.later) {
            // Reported once only, so that writes do not wake anyone while we read.
            let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ONESHOT;
            open.watch = Some(self.inotify.add_watch(path_of(&open.text.file).as_str(), events)?);
        }
        self.is_armed = true;
        Ok(())
    }
}

impl AsyncRead for Tail {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tail = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            // Checked before the read: what the writer wrote before it moved on is then read.
            tail.take_new_files(cx);
            let is_finished = tail.is_finished()?;
            let wanted = buf.remaining().min(CHUNK);
            match tail.current.read(buf)? {
                ReadResult::Bytes(read) => {
                    // No write was reported, so nothing is there to read.
                    tail.at_end = (read < wanted).then(Instant::now);
                    return Poll::Ready(Ok(()));
                }
                // The file that a server now has under this name comes as the next file.
                ReadResult::Rewritten if is_finished && tail.current.is_unseen => {}
                ReadResult::Rewritten => match tail.begin_again() {
                    Some(aside) => return Poll::Ready(Err(aside.error())),
                    None => continue,
                },
                ReadResult::End => {}
            }
            if is_finished {
                return Poll::Ready(Err(tail.switch()?.error()));
            }
            if tail.is_last {
                return Poll::Ready(Err(Failure::Gone.error("the log's directory was removed or renamed")));
            }
            tail.at_end.get_or_insert_with(Instant::now);
            tail.changed.waker.register(cx.waker());
            if !tail.is_armed {
                // Then read again, because nobody reports what was written before the watch was set.
                tail.arm()?;
                continue;
            }
            if !tail.changed.take() {
                return Poll::Pending;
            }
            tail.is_armed = false;
        }
    }
}
