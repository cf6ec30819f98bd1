//! The bytes of one file after the other, as a stream that breaks off only with the log's directory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use nix::sys::inotify::{AddWatchFlags, Inotify, WatchDescriptor};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use super::place::path_of;
use super::text::Text;
use super::watcher::Watcher;
use crate::agent::target::log::Aside;
use crate::protocol::failure::Failure;

/// Bytes given at a time.
const CHUNK: usize = 64 * 1024;

/// Files held open that nobody has written to yet. A writer that has not moved on after so many
/// rotations is not waited for.
const LATER_FILES: usize = 16;

/// Told by the watcher, waited for by the reader.
#[derive(Default)]
pub(super) struct Changed {
    is_changed: AtomicBool,
    waker: AtomicWaker,
}

impl Changed {
    pub(super) fn tell(&self) {
        self.is_changed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

pub(super) struct Tail {
    current: Open,
    /// Files that took the name since, oldest first.
    later: VecDeque<Open>,
    files: mpsc::Receiver<File>,
    /// Whether the watcher has ended: there will be no other file.
    is_last: bool,
    inotify: Arc<Inotify>,
    /// Whether the kernel has been asked to tell of the next write to these files.
    is_armed: bool,
    changed: Arc<Changed>,
}

impl Tail {
    pub(super) fn new(file: File, offset: u64, watcher: &Watcher, files: mpsc::Receiver<File>) -> Tail {
        Tail {
            current: Open { text: Text::of(file, offset), watch: None },
            later: VecDeque::new(),
            files,
            is_last: false,
            inotify: watcher.inotify(),
            is_armed: false,
            changed: watcher.changed(),
        }
    }

    fn take_new_files(&mut self, cx: &mut Context<'_>) {
        while !self.is_last && self.later.len() < LATER_FILES {
            match self.files.poll_recv(cx) {
                Poll::Ready(Some(file)) => {
                    self.later.push_back(Open { text: Text::of(file, 0), watch: None });
                    self.is_armed = false;
                }
                Poll::Ready(None) => self.is_last = true,
                Poll::Pending => return,
            }
        }
    }

    /// Whether the writer has left the current file: a later one has its first byte. Until then
    /// the writer may still hold the old one (logrotate's `create` without `copytruncate`).
    fn is_finished(&self) -> io::Result<bool> {
        if self.later.len() >= LATER_FILES || self.is_last && !self.later.is_empty() {
            return Ok(true);
        }
        for open in &self.later {
            if open.text.file.metadata()?.len() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn switch(&mut self) {
        let Some(next) = self.later.pop_front() else { return };
        let old = std::mem::replace(&mut self.current, next);
        if let Some(watch) = old.watch {
            // It is gone already where it has told its one event.
            let _ = self.inotify.rm_watch(watch);
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        for open in std::iter::once(&mut self.current).chain(&mut self.later) {
            // Told once and then forgotten: while we read, writing wakes nobody.
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
            // Asked before the read: what the writer wrote before it moved on is read by then.
            tail.take_new_files(cx);
            let is_finished = tail.is_finished()?;
            if tail.current.read(buf)? {
                return Poll::Ready(Ok(()));
            }
            if is_finished {
                tail.switch();
                return Poll::Ready(Err(Aside::NextFile.error()));
            }
            if tail.current.text.is_truncated()? {
                // logrotate's `copytruncate`: what is there now is new.
                return Poll::Ready(Err(Aside::NextFile.error()));
            }
            if tail.is_last {
                return Poll::Ready(Err(Failure::Gone.error("the log's directory was removed or renamed")));
            }
            tail.changed.waker.register(cx.waker());
            if !tail.is_armed {
                // Then look again: what was written before it was armed is told by nobody.
                tail.arm()?;
                continue;
            }
            if !tail.changed.is_changed.swap(false, Ordering::Acquire) {
                return Poll::Pending;
            }
            tail.is_armed = false;
        }
    }
}

struct Open {
    text: Text,
    watch: Option<WatchDescriptor>,
}

impl Open {
    /// Reads what there is; false at the end. Done right here and not on a thread for waiting:
    /// what a log's reader wants was just written and comes from memory, and 64 KiB are copied
    /// faster than they are handed to another thread.
    fn read(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let wanted = buf.remaining().min(CHUNK);
        let read = self.text.read(buf.initialize_unfilled_to(wanted))?;
        buf.advance(read);
        Ok(read > 0)
    }
}
