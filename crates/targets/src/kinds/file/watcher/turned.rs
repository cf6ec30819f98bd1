//! Follows a path that leads elsewhere after a while, because a link was changed or a directory was replaced.

use std::io;

use nix::errno::Errno;
use tokio::sync::mpsc;

use super::{New, START_TRIES, Watcher, identity};
use crate::kinds::file::location::Location;
use crate::kinds::file::pending::{NextFile, PendingFiles};
use crate::kinds::file::way::Turn;
use crate::support::opened::OpenError;
use crate::support::tasks::spawn_blocking;

impl Watcher {
    /// Resolves the path again and continues where it leads now. Returns whether there is a directory.
    pub(super) fn find_again(&mut self, files: &mpsc::UnboundedSender<New>) -> io::Result<bool> {
        for _ in 0..START_TRIES {
            self.is_turned = false;
            let (turns, location) = self.way.walk();
            let is_there = match self.go_to(&location, &turns, files) {
                Ok(()) => true,
                Err(error) => {
                    self.complain(error);
                    self.watches.follow_turns(&turns);
                    // A link may be about to be created in the next location.
                    self.watches.is_at(&self.location)
                }
            };
            self.replay()?;
            // A change from before the watch shows now.
            if !self.is_turned && self.way.walk() == (turns, location) {
                return Ok(is_there);
            }
        }
        Err(io::Error::other("the path leads elsewhere all the time"))
    }

    fn go_to(
        &mut self,
        location: &Result<Location, OpenError>,
        turns: &[Turn],
        files: &mpsc::UnboundedSender<New>,
    ) -> Result<(), OpenError> {
        let location = location.as_ref().map_err(Clone::clone)?;
        let is_same = self.watches.follow(location, turns).map_err(|error| self.way.failed(&error))?;
        if !is_same || *location != self.location {
            self.leave(files);
            self.pending = PendingFiles::with_newest(location.name(), self.pending.take_missed());
            self.location = location.clone();
        }
        self.trouble = None;
        Ok(())
    }

    /// Logs once what the owner should know.
    fn complain(&mut self, error: OpenError) {
        if self.trouble.as_ref() != Some(&error) {
            tracing::info!(log = ?self.location.name(), %error, "the path of a log leads nowhere for now");
            self.trouble = Some(error);
        }
    }

    /// Opens the files that still wait in the directory that the path has left.
    fn leave(&mut self, files: &mpsc::UnboundedSender<New>) {
        loop {
            let opened = match self.pending.next() {
                NextFile::Nothing => return,
                NextFile::Moving => Err(io::ErrorKind::NotFound.into()),
                NextFile::Open(name) => {
                    self.location.open(&name).and_then(|file| Ok((identity(&file)?, file)))
                }
            };
            match (opened, self.room.clone().try_acquire_owned()) {
                (Ok((identity, _)), _) if identity == self.newest => self.pending.done(),
                (Ok((identity, file)), Ok(room)) => {
                    self.pending.done();
                    self.newest = identity;
                    let _ = files.send(self.new_file(file, room));
                }
                // A link is not a file of the log.
                (Err(error), _) if error.raw_os_error() == Some(Errno::ELOOP as i32) => self.pending.done(),
                _ => self.pending.miss(),
            }
        }
    }

    /// Checks what inotify(7) does not report. Not on the runtime's threads, because servers may be gone.
    pub(super) async fn look(&mut self) {
        let way = self.way.clone();
        let looked = spawn_blocking(move || {
            let location = way.location().ok()?;
            // Opening also refreshes what the server reports of the file's size.
            let file = location.open(location.name()).and_then(|file| identity(&file)).ok();
            Some((location, file))
        });
        match looked.await {
            Ok(Some((location, Some(file)))) if location == self.location => {
                if file != self.newest {
                    self.pending.look_again();
                }
            }
            // Another location, or none.
            _ => self.is_turned = true,
        }
        if self.is_unseen {
            self.changed.notify();
        }
    }
}
