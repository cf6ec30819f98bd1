//! The path of a fifo, and what is there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};

use crate::support::access::{Need, explain, wrong_type};
use crate::support::opened::OpenError;
use crate::support::paths::{open_to_read, open_unlinked};

/// A path at which the owner allows a fifo.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FifoPath {
    pub(super) path: PathBuf,
    pub(super) follow_symlinks: bool,
}

impl FifoPath {
    /// Opens the reading end without waiting for a writer.
    pub(super) fn open_end(&self) -> Result<File, OpenError> {
        self.look()?;
        let path = self.real_path()?;
        let file = open_to_read(&path).map_err(|error| self.failed(&error))?;
        let metadata = file.metadata().map_err(|error| self.failed(&error))?;
        match metadata.file_type().is_fifo() {
            true => Ok(file),
            false => Err(wrong_type(&self.path, "a fifo", &metadata)),
        }
    }

    /// Checks without opening: opening would let a waiting writer begin, and closing again would end that writer with
    /// SIGPIPE. It also keeps devices from being opened.
    pub(super) fn look(&self) -> Result<String, OpenError> {
        let path = self.real_path()?;
        let place = open_unlinked(&path, OFlag::O_PATH).map_err(|error| self.failed(&error))?;
        let metadata = File::from(place).metadata().map_err(|error| self.failed(&error))?;
        if !metadata.file_type().is_fifo() {
            return Err(wrong_type(&self.path, "a fifo", &metadata));
        }
        access(&path, AccessFlags::R_OK).map_err(|error| self.failed(&error.into()))?;
        Ok(format!("{} is a fifo and may be read", self.path.display()))
    }

    pub(super) fn real_path(&self) -> Result<PathBuf, OpenError> {
        match self.follow_symlinks {
            true => fs::canonicalize(&self.path).map_err(|error| self.failed(&error)),
            false => Ok(self.path.clone()),
        }
    }

    fn failed(&self, error: &io::Error) -> OpenError {
        explain(&self.path, Need::Read, error)
    }
}
