//! Notices each file that takes a log's name and opens it at once, whether anybody reads or not: later it may have been
//! rotated away. Ends when nobody reads any more.

mod turned;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, Inotify};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::changed::Changed;
use super::local::is_local;
use super::location::Location;
use super::pending::{NextFile, PendingFiles};
use super::watches::Watches;
use super::way::{Turn, Way};
use crate::support::opened::OpenError;
use service::pollable::pollable;

/// How many files of a log are open at once for a stalled reader. Deleted files use disk space until they are read.
/// [`PendingFiles`] finds further files as long as they are not deleted.
pub(super) const OPEN_FILES: usize = 8;

/// How long to wait for the second event of a rename, which follows the first at once but separately (inotify(7)).
const RENAME_GAP: Duration = Duration::from_millis(50);

/// How long a directory may be missing while it is replaced.
const ABSENCE: Duration = Duration::from_secs(2);

/// Pause between two checks for a missing directory.
const ABSENCE_LOOKS: Duration = Duration::from_millis(50);

/// Pause between two checks of what inotify(7) does not report.
const LOOKS: Duration = Duration::from_secs(1);

/// How often opening starts over because the log was rotated meanwhile.
const START_TRIES: usize = 100;

pub(super) struct Watcher {
    watches: Watches,
    way: Way,
    location: Location,
    pending: PendingFiles,
    /// Device and inode number of the newest opened file. The file is held open as long as this matters, so that its
    /// number is not given to another.
    newest: (u64, u64),
    changed: Arc<Changed>,
    /// A permit for each open file.
    room: Arc<Semaphore>,
    /// Whether the path may lead elsewhere now.
    is_turned: bool,
    /// Whether the newest file may be written to without an event.
    is_unseen: bool,
    /// Why the path leads nowhere, if it does.
    trouble: Option<OpenError>,
}

/// A file that took the log's name.
pub(super) struct New {
    pub(super) file: File,
    /// Whether it may be written to, or replaced, without an event.
    pub(super) is_unseen: bool,
    /// How many files before it were deleted before they could be opened.
    pub(super) missed: u32,
    pub(super) room: OwnedSemaphorePermit,
}

/// Whether the waiting files could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandedOver {
    /// All files that can be opened now were opened.
    All,
    /// The limit of open files is reached.
    NoRoom,
}

impl Watcher {
    /// Starts to watch, and opens the file that has the name now.
    pub(super) fn start(way: Way) -> Result<(Watcher, New), OpenError> {
        let (_, location) = way.walk();
        let location = location?;
        let mut watcher = Watcher {
            watches: Watches::new().map_err(|error| way.failed(&error))?,
            pending: PendingFiles::new(location.name()),
            way,
            location,
            newest: (0, 0),
            changed: Arc::default(),
            room: Arc::new(Semaphore::new(OPEN_FILES)),
            is_turned: false,
            is_unseen: false,
            trouble: None,
        };
        for _ in 0..START_TRIES {
            let (turns, location) = watcher.way.walk();
            watcher.location = location?;
            // Files that were rotated before now do not matter.
            watcher.pending = PendingFiles::new(watcher.location.name());
            if let Some(first) = watcher.open_first(&turns).map_err(|error| watcher.way.failed(&error))? {
                return Ok((watcher, first));
            }
        }
        Err(watcher.way.failed(&io::Error::other("is being replaced all the time")))
    }

    /// Opens the file that has the log's name; none if something changed meanwhile.
    fn open_first(&mut self, turns: &[Turn]) -> io::Result<Option<New>> {
        self.is_turned = false;
        let is_watched = self.watches.follow(&self.location, turns)?;
        let file = self.location.open(self.location.name())?;
        // If no event came between the two checks, every later event is about a later file.
        // Stops at the first one that matters: they may come faster than they are read.
        while let Some(concerned) = self.replay_some()? {
            if concerned || self.is_turned {
                return Ok(None);
            }
        }
        if !is_watched {
            return Ok(None);
        }
        self.newest = identity(&file)?;
        let room = self.room.clone().try_acquire_owned().map_err(io::Error::other)?;
        Ok(Some(self.new_file(file, room)))
    }

    fn new_file(&mut self, file: File, room: OwnedSemaphorePermit) -> New {
        self.is_unseen = !is_local(&file);
        New { file, is_unseen: self.is_unseen, missed: self.pending.take_missed(), room }
    }

    /// The inotify instance, through which the reader asks about writes to files that it has read to the end.
    pub(super) fn inotify(&self) -> Arc<Inotify> {
        self.watches.inotify().clone()
    }

    /// The signal that the reader waits for.
    pub(super) fn changed(&self) -> Arc<Changed> {
        self.changed.clone()
    }

    /// Sends each new file until the directory is gone or nobody takes them.
    pub(super) async fn run(mut self, files: mpsc::UnboundedSender<New>) {
        if let Err(error) = self.watch(&files).await {
            tracing::warn!(log = ?self.location.name(), %error, "a log can no longer be followed");
        }
        drop(files);
        // The reader may wait for a write only.
        self.changed.notify();
    }

    async fn watch(&mut self, files: &mpsc::UnboundedSender<New>) -> io::Result<()> {
        let readable = pollable(self.watches.inotify().as_fd().try_clone_to_owned()?)?;
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let room = self.room.clone();
        let mut missing: Option<Instant> = None;
        loop {
            self.replay()?;
            if self.is_turned || missing.is_some() {
                let is_there = self.find_again(files)?;
                missing = if is_there { None } else { missing.or_else(|| Some(Instant::now())) };
            }
            if missing.is_some_and(|since| since.elapsed() >= ABSENCE) {
                return Ok(());
            }
            let is_missing = missing.is_some();
            let handed = if is_missing { HandedOver::All } else { self.hand_over(files)? };
            if self.is_turned {
                continue;
            }
            let is_moving = self.pending.next() == NextFile::Moving;
            tokio::select! {
                ready = readable.readable() => {
                    let mut ready = ready?;
                    self.replay()?;
                    // All events were read, so the next one makes it ready again.
                    ready.clear_ready();
                }
                () = files.closed() => return Ok(()),
                // The permit is for the waiting file.
                _ = room.acquire(), if handed == HandedOver::NoRoom => {}
                () = sleep(RENAME_GAP), if is_moving => {
                    tracing::warn!(log = ?self.location.name(), "a file was moved elsewhere before it was opened");
                    self.pending.miss();
                }
                () = sleep(ABSENCE_LOOKS), if is_missing => {}
                _ = looks.tick(), if !is_missing && (self.is_unseen || self.watches.is_partial) => {
                    // A server may not answer, and the reader may leave.
                    tokio::select! {
                        () = self.look() => {}
                        () = files.closed() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Opens the waiting files that can be opened.
    fn hand_over(&mut self, files: &mpsc::UnboundedSender<New>) -> io::Result<HandedOver> {
        while let NextFile::Open(name) = self.pending.next() {
            let Ok(room) = self.room.clone().try_acquire_owned() else { return Ok(HandedOver::NoRoom) };
            let opened = self.location.open(&name);
            // If the file kept that name while it was opened, no event about it has come.
            if self.replay()? {
                continue;
            }
            if self.is_turned {
                break;
            }
            match opened {
                Ok(file) => {
                    self.pending.done();
                    let identity = identity(&file)?;
                    if identity != self.newest {
                        self.newest = identity;
                        // `watch` notices a reader that has left.
                        let _ = files.send(self.new_file(file, room));
                    }
                }
                // Its permissions may still be set. If there is a newer file, they will not.
                Err(error) if is_refused(&error) && !self.pending.is_more_than_one() => break,
                // A link leads to it and it will be created; or it was deleted, which an event will report.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.pending.done(),
                // A link is not a file of the log, but may lead to it.
                Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
                    self.pending.done();
                    self.is_turned = self.way.follow_symlinks;
                }
                Err(error) => {
                    tracing::warn!(log = ?self.location.name(), %error, "a rotated file could not be opened");
                    self.pending.miss();
                }
            }
        }
        Ok(HandedOver::All)
    }

    /// Reads all pending events. Returns whether one concerned a waiting file, or added one.
    fn replay(&mut self) -> io::Result<bool> {
        let mut concerned = false;
        while let Some(by_these) = self.replay_some()? {
            concerned |= by_these;
        }
        Ok(concerned)
    }

    /// The same for as many events as one read returns; none if no event is pending.
    fn replay_some(&mut self) -> io::Result<Option<bool>> {
        let events = loop {
            match self.watches.inotify().read_events() {
                Ok(events) => break events,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let mut concerned = false;
        for event in events {
            if event.mask.intersects(AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_Q_OVERFLOW) {
                self.changed.notify();
            }
            let about = self.watches.about(&event);
            self.is_turned |= about.way;
            concerned |= about.names && self.pending.replay(&event);
        }
        Ok(Some(concerned))
    }
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

pub(super) fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
