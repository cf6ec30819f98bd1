//! A log file: its last lines, then what is written to it, through any rotation. Never written to.

mod last_lines;
mod names;
mod place;
mod tail;
mod watcher;

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use tokio::sync::mpsc;

use super::access::{Need, explain};
use super::config::{TargetConfigError, absolute_file};
use super::kind::{Open, Settings};
use super::opened::{OpenError, Opened, Opening, blocking};
use super::params::{ParamError, Params};
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;
use last_lines::start_of_last_lines;
use place::Place;
use tail::Tail;
use watcher::{WAITING_FILES, Watcher};

/// Lines shown first where the owner does not say: as tail(1).
const LINES: u32 = 10;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    path: PathBuf,
    lines: Option<u32>,
    #[serde(default)]
    follow_symlinks: bool,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    path: PathBuf,
    lines: u32,
    /// Resolved when the target is opened; a link that is turned elsewhere later is not followed.
    follow_symlinks: bool,
}

impl Settings for File {
    const NAME: &'static str = "file";
    /// Reading costs little, and many people may look at one log.
    const MAX_STREAMS: u32 = 16;
    const PROFILE: Profile = Profile::Bulk;
    type Raw = Raw;
    type Bound = File;

    fn check(raw: Raw) -> Result<File, TargetConfigError> {
        Ok(File {
            path: absolute_file("path", raw.path)?,
            lines: raw.lines.unwrap_or(LINES),
            follow_symlinks: raw.follow_symlinks,
        })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Ro]
    }

    fn bind(&self, _params: &mut Params<'_>) -> Result<File, ParamError> {
        Ok(self.clone())
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let settings = self.clone();
        blocking(move || {
            let place = settings.place()?;
            let file = place.open(place.name()).map_err(|error| settings.failed(&error))?;
            let bytes = file.metadata().map_err(|error| settings.failed(&error))?.len();
            Ok(format!("{} has {bytes} bytes and may be read", settings.path.display()))
        })
        .await
    }
}

impl Open for File {
    async fn open(&self, _opening: Opening) -> Result<Opened, OpenError> {
        let settings = self.clone();
        let (watcher, file, offset) = blocking(move || settings.start()).await?;
        let (send, files) = mpsc::channel(WAITING_FILES);
        let tail = Tail::new(file, offset, &watcher, files);
        tokio::spawn(watcher.run(send));
        Ok(Opened::read_only(tail))
    }
}

impl File {
    fn start(&self) -> Result<(Watcher, fs::File, u64), OpenError> {
        let (watcher, file) = Watcher::start(self.place()?).map_err(|error| self.failed(&error))?;
        let offset = start_of_last_lines(&file, self.lines).map_err(|error| self.failed(&error))?;
        Ok((watcher, file, offset))
    }

    fn place(&self) -> Result<Place, OpenError> {
        let place = match self.follow_symlinks {
            true => fs::canonicalize(&self.path).and_then(|path| Place::of(&path)),
            false => Place::of(&self.path),
        };
        place.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> OpenError {
        match error.raw_os_error().map(nix::errno::Errno::from_raw) {
            // Only inotify gives these two here (inotify_init1(2), inotify_add_watch(2)).
            Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENOSPC) => OpenError::failed(format!(
                "{}: {error}: no more files can be watched, raise fs.inotify.max_user_instances and \
                 fs.inotify.max_user_watches (sysctl) or LimitNOFILE",
                self.path.display()
            )),
            _ => explain(&self.path, Need::Read, error),
        }
    }
}

#[cfg(test)]
mod tests;
