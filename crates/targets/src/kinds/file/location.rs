//! The directory of a log, and the log's name in it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::support::paths::{open_to_read, open_unlinked};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    dir: PathBuf,
    name: OsString,
}

impl Location {
    /// Splits a path that names a file.
    pub(super) fn new(path: &Path) -> io::Result<Location> {
        match (path.parent(), path.file_name()) {
            (Some(dir), Some(name)) => Ok(Location { dir: dir.to_owned(), name: name.to_owned() }),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Opens the directory. To be closed soon: inotify does not report its deletion while it is open.
    pub(super) fn open_dir(&self) -> io::Result<OwnedFd> {
        open_unlinked(&self.dir, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// The directory's name; none for the root.
    pub(super) fn dir_name(&self) -> Option<&OsStr> {
        self.dir.file_name()
    }

    /// The directories above the log's, nearest first, without the root.
    pub(super) fn above(&self) -> impl Iterator<Item = &Path> {
        self.dir.ancestors().skip(1).filter(|dir| dir.parent().is_some())
    }

    /// Opens the directory above. To be closed soon.
    pub(super) fn open_above(&self) -> io::Result<OwnedFd> {
        let above = self.dir.parent().ok_or(io::ErrorKind::NotFound)?;
        open_unlinked(above, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// Opens a regular file of the directory for reading, and never follows a link.
    pub(super) fn open(&self, name: &OsStr) -> io::Result<File> {
        let file = open_to_read(&self.dir.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if is_made_up(&file)? {
            return Err(io::Error::other(
                "has a size of 0 and bytes all the same, as files of proc(5) do: this is no log that \
                 can be followed; an exec target with cat(1) shows it",
            ));
        }
        Ok(file)
    }
}

/// Whether the file's bytes are generated when they are read, so that its size does not say where it ends.
fn is_made_up(file: &File) -> io::Result<bool> {
    let is_empty = || Ok::<_, io::Error>(file.metadata()?.len() == 0);
    Ok(is_empty()? && file.read_at(&mut [0], 0)? > 0 && is_empty()?)
}

/// A path to an open file, even if it was renamed or deleted (proc_pid_fd(5)).
pub(super) fn path_of(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
