//! Files that took a log's name and are not opened yet, and their current names.
//!
//! By the time an event is read, its file may have been rotated again. Replaying every rename since then gives each
//! file's current name, so that no file is missed or opened twice.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};

use nix::sys::inotify::{AddWatchFlags, InotifyEvent};

/// The files to open, oldest first.
pub(super) struct PendingFiles {
    log: OsString,
    waiting: VecDeque<Now>,
    /// How many files were lost before they could be opened.
    missed: u32,
}

/// The current name of a file.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    At(OsString),
    /// Between the two events of the rename with this cookie.
    Moving(u32),
}

/// What to do with the oldest file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextFile {
    Nothing,
    /// Open it under this name.
    Open(OsString),
    /// It is being renamed. The event with its new name may follow, or it has left the directory.
    Moving,
}

impl PendingFiles {
    pub(super) fn new(log: &OsStr) -> PendingFiles {
        PendingFiles { log: log.to_owned(), waiting: VecDeque::new(), missed: 0 }
    }

    /// Puts the file that has the log's name now first, if there is one.
    pub(super) fn with_newest(log: &OsStr, missed: u32) -> PendingFiles {
        let mut names = PendingFiles { missed, ..PendingFiles::new(log) };
        names.look_again();
        names
    }

    /// The name may belong to a file that no event has reported.
    pub(super) fn look_again(&mut self) {
        if self.waiting.is_empty() {
            self.waiting.push_back(Now::At(self.log.clone()));
        }
    }

    pub(super) fn next(&self) -> NextFile {
        match self.waiting.front() {
            None => NextFile::Nothing,
            Some(Now::At(name)) => NextFile::Open(name.clone()),
            Some(Now::Moving(_)) => NextFile::Moving,
        }
    }

    /// The oldest file has been opened, or there is none.
    pub(super) fn done(&mut self) {
        self.waiting.pop_front();
    }

    /// The oldest file is lost.
    pub(super) fn miss(&mut self) {
        self.done();
        self.missed += 1;
    }

    /// How many files were lost since the last call.
    pub(super) fn take_missed(&mut self) -> u32 {
        std::mem::take(&mut self.missed)
    }

    /// Whether a file waits behind the oldest one.
    pub(super) fn is_more_than_one(&self) -> bool {
        self.waiting.len() > 1
    }

    /// Replays one event of the directory. Returns whether it concerned a waiting file, or added one.
    pub(super) fn replay(&mut self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // Events were lost, and the names with them. The newest file has the log's name.
            self.missed += self.waiting.len() as u32;
            self.waiting.clear();
            self.waiting.push_back(Now::At(self.log.clone()));
            return true;
        }
        let Some(name) = event.name.as_deref() else { return false };
        let mut concerned = false;
        if event.mask.contains(AddWatchFlags::IN_MOVED_FROM) {
            for file in self.waiting.iter_mut().filter(|file| file.is_at(name)) {
                *file = Now::Moving(event.cookie);
                concerned = true;
            }
        }
        if event.mask.intersects(AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE) {
            // The file that had the name before is gone.
            let before = self.waiting.len();
            self.waiting.retain(|file| !file.is_at(name));
            self.missed += (before - self.waiting.len()) as u32;
            concerned |= self.waiting.len() < before;
        }
        let mut was_waiting = false;
        if event.mask.contains(AddWatchFlags::IN_MOVED_TO) {
            for file in self.waiting.iter_mut().filter(|file| **file == Now::Moving(event.cookie)) {
                *file = Now::At(name.to_owned());
                was_waiting = true;
            }
        }
        let is_new = event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
        if is_new && !was_waiting && name == self.log {
            self.waiting.push_back(Now::At(name.to_owned()));
            concerned = true;
        }
        // The permissions change after the creation: logrotate creates it for root alone, then gives it away.
        let may_open_now = event.mask.contains(AddWatchFlags::IN_ATTRIB);
        concerned || was_waiting || may_open_now && self.waiting.iter().any(|file| file.is_at(name))
    }
}

impl Now {
    fn is_at(&self, name: &OsStr) -> bool {
        matches!(self, Now::At(at) if at == name)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::inotify::{InitFlags, Inotify};

    use super::*;

    /// The kernel's events for what `acts` does in a directory.
    fn replayed(acts: impl FnOnce(&std::path::Path)) -> PendingFiles {
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        inotify.add_watch(dir.path(), super::super::watches::DIR_EVENTS).unwrap();
        acts(dir.path());
        let mut names = PendingFiles::new(OsStr::new("log"));
        while let Ok(events) = inotify.read_events() {
            for event in events {
                names.replay(&event);
            }
        }
        names
    }

    fn rotate(dir: &std::path::Path) {
        for age in (0..5).rev() {
            let name = |age| if age == 0 { dir.join("log") } else { dir.join(format!("log.{age}")) };
            if name(age).exists() {
                std::fs::rename(name(age), name(age + 1)).unwrap();
            }
        }
        std::fs::write(dir.join("log"), "").unwrap();
    }

    fn order(mut names: PendingFiles) -> Vec<String> {
        std::iter::from_fn(|| match names.next() {
            NextFile::Open(name) => {
                names.done();
                Some(name.into_string().unwrap())
            }
            NextFile::Moving => {
                names.done();
                Some("moving".to_owned())
            }
            NextFile::Nothing => None,
        })
        .collect()
    }

    #[test]
    fn every_file_is_known_by_its_present_name() {
        let names = replayed(|dir| (0..4).for_each(|_| rotate(dir)));
        assert_eq!(order(names), ["log.3", "log.2", "log.1", "log"]);
    }

    #[test]
    fn a_file_that_is_gone_is_not_waited_for() {
        let names = replayed(|dir| {
            (0..3).for_each(|_| rotate(dir));
            std::fs::remove_file(dir.join("log.1")).unwrap();
            std::fs::write(dir.join("other"), "").unwrap();
        });
        assert_eq!(names.missed, 1);
        assert_eq!(order(names), ["log.2", "log"]);
    }

    #[test]
    fn a_file_that_left_the_directory_is_seen_to_move() {
        let elsewhere = tempfile::tempdir().unwrap();
        let names = replayed(|dir| {
            rotate(dir);
            std::fs::rename(dir.join("log"), elsewhere.path().join("log")).unwrap();
            rotate(dir);
        });
        assert_eq!(order(names), ["moving", "log"]);
    }

    #[test]
    fn a_file_renamed_onto_the_log_is_a_new_one() {
        let names = replayed(|dir| {
            std::fs::write(dir.join("log.new"), "").unwrap();
            std::fs::rename(dir.join("log.new"), dir.join("log")).unwrap();
        });
        assert_eq!(order(names), ["log"]);
    }
}
