//! The directory that a log lives in, and the log's name there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::agent::target::access::{open_to_read, open_unlinked};

pub(super) struct Place {
    dir: PathBuf,
    name: OsString,
}

impl Place {
    /// Splits a path that names a file.
    pub(super) fn of(path: &Path) -> io::Result<Place> {
        match (path.parent(), path.file_name()) {
            (Some(dir), Some(name)) => Ok(Place { dir: dir.to_owned(), name: name.to_owned() }),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Opens the directory, for a moment: while it is held open, its deletion is not told.
    pub(super) fn open_dir(&self) -> io::Result<OwnedFd> {
        open_unlinked(&self.dir, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// The directory's own name; none for the root.
    pub(super) fn dir_name(&self) -> Option<&OsStr> {
        self.dir.file_name()
    }

    /// Opens the directory above, for a moment.
    pub(super) fn open_above(&self) -> io::Result<OwnedFd> {
        let above = self.dir.parent().ok_or(io::ErrorKind::NotFound)?;
        open_unlinked(above, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// Opens a file of the directory for reading; only regular files, and never through a link.
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

/// Whether the bytes are made when they are read, so that its size says nothing about its end.
fn is_made_up(file: &File) -> io::Result<bool> {
    let is_empty = || Ok::<_, io::Error>(file.metadata()?.len() == 0);
    Ok(is_empty()? && file.read_at(&mut [0], 0)? > 0 && is_empty()?)
}

/// A path that means an open file itself, whatever its names are by now (proc_pid_fd(5)).
pub(super) fn path_of(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
