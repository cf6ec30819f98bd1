//! The directories that are watched by inotify(7): the log's own, those above it, and those with links on the way to
//! it.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

use super::local::is_local;
use super::location::{Location, path_of};
use super::way::Turn;
use crate::support::paths::open_unlinked;

/// Events of the log's directory. Writes are not among them: they are reported per file, while a reader waits, so that
/// a busy log costs nothing here.
pub(super) const DIR_EVENTS: AddWatchFlags = NAME_EVENTS.union(AddWatchFlags::IN_ATTRIB);

/// Events of a directory in which a name may change its meaning.
const NAME_EVENTS: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE)
    .union(MOVE_EVENTS);

/// Events of the directory above the log's: the log's directory is deleted or renamed.
const ABOVE_EVENTS: AddWatchFlags =
    AddWatchFlags::IN_DELETE.union(AddWatchFlags::IN_MOVED_FROM).union(MOVE_EVENTS);

/// Events of every directory on the way.
const MOVE_EVENTS: AddWatchFlags =
    AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_ONLYDIR);

/// Events after which a path may lead elsewhere.
const SELF_EVENTS: AddWatchFlags =
    AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF).union(AddWatchFlags::IN_UNMOUNT);

const CHANGES_NAME: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE);

pub(super) struct Watches {
    inotify: Arc<Inotify>,
    /// None until the first directory is watched.
    dir: Option<WatchDescriptor>,
    /// The directory above, and the name of the log's directory in it.
    above: Option<(WatchDescriptor, Option<OsString>)>,
    turns: Vec<(WatchDescriptor, OsString)>,
    others: Vec<WatchDescriptor>,
    /// Whether something on the way may change without an event.
    pub(super) is_partial: bool,
}

/// What an event is about, which may be both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// A name in the log's directory.
    pub(super) names: bool,
    /// The path, which may lead elsewhere now.
    pub(super) way: bool,
}

impl Watches {
    pub(super) fn new() -> io::Result<Watches> {
        let inotify = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?);
        Ok(Watches { inotify, dir: None, above: None, turns: vec![], others: vec![], is_partial: false })
    }

    pub(super) fn inotify(&self) -> &Arc<Inotify> {
        &self.inotify
    }

    /// Watches the directory of this location. Returns whether it is the same one as before.
    pub(super) fn follow(&mut self, location: &Location, turns: &[Turn]) -> io::Result<bool> {
        let opened = location.open_dir()?;
        let dir = self.add(&opened, DIR_EVENTS)?;
        let before = self.all();
        let is_same = self.dir == Some(dir);
        self.dir = Some(dir);
        self.is_partial = !is_local(&opened);
        // While a file of it is open, a deleted directory does not report its deletion. If the directories above cannot
        // be watched, the stream stays silent in this case.
        let above = location.open_above().ok();
        let above = above.and_then(|above| self.add(&above, ABOVE_EVENTS).ok());
        self.above = above.map(|above| (above, location.dir_name().map(OsString::from)));
        self.others = location.above().skip(1).filter_map(|dir| self.watch(dir, MOVE_EVENTS).ok()).collect();
        self.set_turns(turns);
        self.forget(&before);
        Ok(is_same)
    }

    /// Watches these names on the way, while the path leads nowhere else.
    pub(super) fn follow_turns(&mut self, turns: &[Turn]) {
        let before = self.all();
        self.set_turns(turns);
        self.forget(&before);
    }

    /// Whether the path still leads to the watched directory.
    pub(super) fn is_at(&self, location: &Location) -> bool {
        let dir = location.open_dir().and_then(|dir| self.add(&dir, DIR_EVENTS));
        dir.is_ok_and(|dir| self.dir == Some(dir))
    }

    fn set_turns(&mut self, turns: &[Turn]) {
        self.turns.clear();
        for Turn { dir, name } in turns {
            match self.watch(dir, NAME_EVENTS) {
                Ok(watch) => self.turns.push((watch, name.clone())),
                Err(_) => self.is_partial = true,
            }
        }
    }

    fn watch(&mut self, dir: &Path, events: AddWatchFlags) -> io::Result<WatchDescriptor> {
        let opened = open_unlinked(dir, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        self.is_partial |= events == NAME_EVENTS && !is_local(&opened);
        self.add(&opened, events)
    }

    /// One directory may have several roles, and has one watch for all of them.
    fn add(
        &self,
        dir: &(impl AsFd + std::os::fd::AsRawFd),
        events: AddWatchFlags,
    ) -> io::Result<WatchDescriptor> {
        let events = events | AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);
        Ok(self.inotify.add_watch(path_of(dir).as_str(), events)?)
    }

    fn all(&self) -> Vec<WatchDescriptor> {
        let above = self.above.iter().map(|(above, _)| *above);
        let turns = self.turns.iter().map(|(turn, _)| *turn);
        self.dir.into_iter().chain(above).chain(turns).chain(self.others.iter().copied()).collect()
    }

    fn forget(&self, before: &[WatchDescriptor]) {
        let now = self.all();
        for old in before.iter().filter(|old| !now.contains(old)) {
            // The watch is already gone if its directory is.
            let _ = self.inotify.rm_watch(*old);
        }
    }

    pub(super) fn about(&self, event: &InotifyEvent) -> About {
        let name = event.name.as_deref();
        let is_self = event.mask.intersects(SELF_EVENTS) && self.all().contains(&event.wd);
        let is_name = |at: &WatchDescriptor, of: &OsString| *at == event.wd && name == Some(of);
        let is_turn = self.turns.iter().any(|(at, of)| is_name(at, of));
        let is_dir = self.above.iter().any(|(at, of)| of.as_ref().is_some_and(|of| is_name(at, of)));
        let is_lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
        About {
            names: is_lost || Some(event.wd) == self.dir,
            way: is_lost || is_self || (is_turn || is_dir) && event.mask.intersects(CHANGES_NAME),
        }
    }
}
