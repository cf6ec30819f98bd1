//! Which files took a log's name and have not been opened yet, and what they are called by now.
//!
//! By the time an event is read its file may have been rotated on, twice or more. Replaying every
//! rename since then tells each file's present name, so none is missed and none is taken twice.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};

use nix::sys::inotify::{AddWatchFlags, InotifyEvent};

/// Files to be opened, oldest first.
pub(super) struct Names {
    log: OsString,
    waiting: VecDeque<Now>,
}

/// Where a file is now.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    /// Under this name.
    At(OsString),
    /// Between the two events of the rename with this cookie.
    Moving(u32),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing waits.
    Nothing,
    /// The oldest file is to be opened under this name.
    Open(OsString),
    /// The oldest file is being renamed; its new name is on its way, or it left the directory.
    Moving,
}

impl Names {
    pub(super) fn of(log: &OsStr) -> Names {
        Names { log: log.to_owned(), waiting: VecDeque::new() }
    }

    pub(super) fn next(&self) -> Next {
        match self.waiting.front() {
            None => Next::Nothing,
            Some(Now::At(name)) => Next::Open(name.clone()),
            Some(Now::Moving(_)) => Next::Moving,
        }
    }

    /// The oldest file has been opened or is lost.
    pub(super) fn done(&mut self) {
        self.waiting.pop_front();
    }

    /// Whether a file waits behind the oldest one.
    pub(super) fn is_more_than_one(&self) -> bool {
        self.waiting.len() > 1
    }

    /// Replays one event of the directory; says whether it concerned a waiting file, or made one.
    pub(super) fn replay(&mut self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            // Events were lost, and with them the names; the newest file is under the log's name.
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
            // What was there before is gone.
            let before = self.waiting.len();
            self.waiting.retain(|file| !file.is_at(name));
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
        // Rights change after the file was made: logrotate makes it for root alone, then gives it away.
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

    /// Events as the kernel tells them, for what `acts` does in a directory.
    fn replayed(acts: impl FnOnce(&std::path::Path)) -> Names {
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        inotify.add_watch(dir.path(), super::super::watcher::DIR_EVENTS).unwrap();
        acts(dir.path());
        let mut names = Names::of(OsStr::new("log"));
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

    fn order(mut names: Names) -> Vec<String> {
        std::iter::from_fn(|| match names.next() {
            Next::Open(name) => {
                names.done();
                Some(name.into_string().unwrap())
            }
            Next::Moving => {
                names.done();
                Some("moving".to_owned())
            }
            Next::Nothing => None,
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
