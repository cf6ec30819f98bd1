//! Watches a log's path by inotify(7) and hands on every file that takes its place, even while
//! nobody reads: a file that is rotated away twice would otherwise be gone. No polling.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::daemon::pollable::pollable;

/// Changes that may wait for a reader who is stalled: rotations, in practice.
const WAITING: usize = 64;

/// What happened to a log.
#[derive(Debug)]
pub enum Change {
    /// There may be more in one of its files.
    Grown,
    /// This file has its name now.
    Next(File),
}

/// The watch on one path.
pub struct Watch {
    inotify: Inotify,
    path: PathBuf,
}

impl Watch {
    /// Begins to watch the folder of `path`.
    pub fn of(path: &Path) -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(folder, flags | AddWatchFlags::IN_ONLYDIR)?;
        Ok(Watch { inotify, path: path.to_owned() })
    }

    /// Watches an open file for what is written to it, wherever its name goes.
    pub fn add(&self, file: &File) -> io::Result<()> {
        let descriptor = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        self.inotify.add_watch(descriptor.as_str(), AddWatchFlags::IN_MODIFY)?;
        Ok(())
    }

    /// Follows the path in a task of its own, which ends with the receiver. `current` is the open file;
    /// `open` opens a path in its folder as carefully as the first one was opened.
    pub fn follow(
        self,
        current: &File,
        open: impl Fn(&Path) -> Option<File> + Send + 'static,
    ) -> io::Result<Receiver<Change>> {
        let (changes, receiver) = channel(WAITING);
        let follower = Follower {
            newest: identity(current)?,
            name: self.path.file_name().unwrap_or_default().to_owned(),
            watch: self,
            changes,
            open,
        };
        let inotify = pollable(follower.watch.inotify.as_fd().try_clone_to_owned()?)?;
        tokio::spawn(follower.run(inotify));
        Ok(receiver)
    }
}

struct Follower<O> {
    watch: Watch,
    name: std::ffi::OsString,
    /// The file that was handed on last. The reader keeps it open until a newer one has begun, so its
    /// inode number means this file and no other.
    newest: (u64, u64),
    changes: Sender<Change>,
    open: O,
}

impl<O: Fn(&Path) -> Option<File> + Send> Follower<O> {
    async fn run(mut self, inotify: AsyncFd<OwnedFd>) {
        loop {
            let readable = tokio::select! {
                readable = inotify.readable() => readable,
                () = self.changes.closed() => return,
            };
            let Ok(mut readable) = readable else { return };
            match self.watch.inotify.read_events() {
                Ok(events) => {
                    if self.take(&events).await.is_none() {
                        return;
                    }
                }
                Err(nix::Error::EAGAIN) => readable.clear_ready(),
                Err(_) => return,
            }
        }
    }

    /// `None`: nobody reads any more.
    async fn take(&mut self, events: &[InotifyEvent]) -> Option<()> {
        for (at, event) in events.iter().enumerate() {
            let is_ours = event.name.as_ref() == Some(&self.name);
            if event.mask.contains(AddWatchFlags::IN_MOVED_FROM) && is_ours {
                // It was rotated away. If it came and went since we last looked, it is known by its new
                // name only.
                let moved = |other: &&InotifyEvent| {
                    other.cookie == event.cookie && other.mask.contains(AddWatchFlags::IN_MOVED_TO)
                };
                let new_name = events[at..].iter().find(moved).and_then(|other| other.name.as_ref());
                let file = new_name.and_then(|name| (self.open)(&self.watch.path.with_file_name(name)));
                self.hand_on(file).await?;
            } else if event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO) && is_ours
            {
                let goes_away = |other: &InotifyEvent| {
                    other.mask.contains(AddWatchFlags::IN_MOVED_FROM)
                        && other.name.as_ref() == Some(&self.name)
                };
                if !events[at + 1..].iter().any(goes_away) {
                    let file = (self.open)(&self.watch.path);
                    self.hand_on(file).await?;
                }
            }
        }
        // One note is enough for any number of writes; a full queue already holds one.
        match self.changes.try_send(Change::Grown) {
            Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => None,
            _ => Some(()),
        }
    }

    async fn hand_on(&mut self, file: Option<File>) -> Option<()> {
        let Some(file) = file else { return Some(()) };
        let Ok(identity) = identity(&file) else { return Some(()) };
        if identity == self.newest || self.watch.add(&file).is_err() {
            return Some(());
        }
        self.newest = identity;
        self.changes.send(Change::Next(file)).await.ok()
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino()))
}
