//! Notices each file that takes a log's name, and opens it at once, whether anybody reads or not:
//! a file that is opened late may have been rotated away. Ends when nobody reads any more.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::mpsc;

use super::names::{Names, Next};
use super::place::{Place, path_of};
use super::tail::Changed;
use crate::daemon::pollable::pollable;

/// Open files that may wait for a reader who is stalled. Beyond them the kernel's own queue holds
/// the events (16384 of them), and [`Names`] finds the files as long as they are not deleted.
pub(super) const WAITING_FILES: usize = 16;

/// What is told about the directory. Writing is not: that is told about the file only while a
/// reader waits for it, so a busy log costs nothing here.
pub(super) const DIR_EVENTS: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);

/// What is told about the directory above: that the log's directory is deleted or renamed.
const ABOVE_EVENTS: AddWatchFlags =
    AddWatchFlags::IN_DELETE.union(AddWatchFlags::IN_MOVED_FROM).union(AddWatchFlags::IN_ONLYDIR);

/// After these no other file can take the log's path.
const DIR_GONE: AddWatchFlags =
    AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_UNMOUNT);

/// The two events of one rename come right after each other, but not as one (inotify(7)).
const RENAME_GAP: Duration = Duration::from_millis(50);

/// Times that opening starts over because the log was being rotated just then.
const START_TRIES: usize = 100;

pub(super) struct Watcher {
    inotify: Arc<Inotify>,
    /// The watch on the directory above the log's.
    above: Option<WatchDescriptor>,
    place: Place,
    names: Names,
    /// Device and inode of the newest file that was opened. The file is held open somewhere as long
    /// as this matters, so its number is not given to another.
    newest: (u64, u64),
    changed: Arc<Changed>,
}

impl Watcher {
    /// Begins to watch and opens the file that has the name now.
    pub(super) fn start(place: Place) -> io::Result<(Watcher, File)> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(path_of(&place.open_dir()?).as_str(), DIR_EVENTS)?;
        // While a file of it is open, a deleted directory itself tells nothing. Where we may not
        // look at the directory above, the stream just stays silent then.
        let above = place.open_above().ok();
        let above = above.and_then(|dir| inotify.add_watch(path_of(&dir).as_str(), ABOVE_EVENTS).ok());
        let mut watcher = Watcher {
            inotify: Arc::new(inotify),
            above,
            names: Names::of(place.name()),
            place,
            newest: (0, 0),
            changed: Arc::default(),
        };
        for _ in 0..START_TRIES {
            // Nothing that was rotated before now is of interest.
            watcher.names = Names::of(watcher.place.name());
            let file = watcher.place.open(watcher.place.name())?;
            // With no event between the two looks, every later event is about a later file.
            if watcher.replay()? == Seen::Nothing {
                watcher.newest = identity(&file)?;
                return Ok((watcher, file));
            }
        }
        Err(io::Error::other("is being replaced all the time"))
    }

    /// The instance, so that the reader can ask for news of the files it has reached the end of.
    pub(super) fn inotify(&self) -> Arc<Inotify> {
        self.inotify.clone()
    }

    /// What the reader waits for.
    pub(super) fn changed(&self) -> Arc<Changed> {
        self.changed.clone()
    }

    /// Hands over file after file until the directory is gone or nobody takes them.
    pub(super) async fn run(mut self, files: mpsc::Sender<File>) {
        if let Err(error) = self.watch(&files).await {
            tracing::warn!(log = ?self.place.name(), %error, "a log can no longer be followed");
        }
        drop(files);
        // The reader may be waiting for writing only.
        self.changed.tell();
    }

    async fn watch(&mut self, files: &mpsc::Sender<File>) -> io::Result<()> {
        let readable = pollable(self.inotify.as_fd().try_clone_to_owned()?)?;
        loop {
            if self.replay()? == Seen::DirGone {
                return Ok(());
            }
            if !self.hand_over(files).await? {
                return Ok(());
            }
            let moving = self.names.next() == Next::Moving;
            tokio::select! {
                ready = readable.readable() => {
                    let mut ready = ready?;
                    if self.replay()? == Seen::DirGone {
                        return Ok(());
                    }
                    // Everything was read, so what comes next makes it ready anew.
                    ready.clear_ready();
                }
                () = files.closed() => return Ok(()),
                () = tokio::time::sleep(RENAME_GAP), if moving => {
                    tracing::warn!(log = ?self.place.name(), "a file was moved elsewhere before it was opened");
                    self.names.done();
                }
            }
        }
    }

    /// Opens what waits and can be opened; false when nobody takes it or there can be no more.
    async fn hand_over(&mut self, files: &mpsc::Sender<File>) -> io::Result<bool> {
        while let Next::Open(name) = self.names.next() {
            let opened = self.place.open(&name);
            // Was it still that name while we opened it? Then no event about it has come.
            match self.replay()? {
                Seen::DirGone => return Ok(false),
                Seen::Something => continue,
                Seen::Nothing => {}
            }
            match opened {
                Ok(file) => {
                    self.names.done();
                    let identity = identity(&file)?;
                    if identity != self.newest {
                        self.newest = identity;
                        if files.send(file).await.is_err() {
                            return Ok(false);
                        }
                    }
                }
                // Its rights may still be on their way; once there is a newer one they are not.
                Err(error) if is_refused(&error) && !self.names.is_more_than_one() => return Ok(true),
                Err(error) => {
                    tracing::warn!(log = ?self.place.name(), %error, "a rotated file could not be opened");
                    self.names.done();
                }
            }
        }
        Ok(true)
    }

    /// Reads all events that are there.
    fn replay(&mut self) -> io::Result<Seen> {
        let mut seen = Seen::Nothing;
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Ok(seen),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in events {
                if Some(event.wd) == self.above {
                    if event.name.as_deref() == self.place.dir_name() {
                        return Ok(Seen::DirGone);
                    }
                    continue;
                }
                if event.mask.intersects(DIR_GONE) {
                    return Ok(Seen::DirGone);
                }
                if event.mask.contains(AddWatchFlags::IN_MODIFY) {
                    self.changed.tell();
                }
                if self.names.replay(&event) {
                    seen = Seen::Something;
                }
            }
        }
    }
}

/// What a look at the events has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing about a file that waits.
    Nothing,
    /// A file came, was renamed or went.
    Something,
    /// There will be no other file: the directory itself was deleted.
    DirGone,
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
