//! A log file: its last lines, then what is written to it, through any rotation. Never written to.

mod history;
mod last_lines;
mod names;
mod packed;
mod place;
mod rotated;
mod tail;
mod text;
mod watcher;
mod which;

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::access::{Need, explain};
use super::config::TargetConfigError;
use super::kind::{Open, Settings};
use super::log;
use super::names::OPTIONS;
use super::opened::{OpenError, Opened, Opening, Output, blocking};
use super::params::{ParamError, Params};
use super::sandbox::Wants;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;
use history::History;
use last_lines::start_of_last_lines;
use place::Place;
use tail::Tail;
use watcher::{WAITING_FILES, Watcher};
use which::{FILE, Picked, Tree, Which};

/// Lines shown first where the owner does not say: as tail(1).
const LINES: u32 = 10;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    path: Option<PathBuf>,
    paths: Option<Vec<String>>,
    lines: Option<u32>,
    #[serde(default)]
    history: u32,
    #[serde(default)]
    follow_symlinks: bool,
    #[serde(default)]
    raw: bool,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    which: Which,
    reading: Reading,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Reading {
    lines: u32,
    /// Rotated files that a client may ask for.
    history: u32,
    /// Resolved when the target is opened; a link that is turned elsewhere later is not followed.
    follow_symlinks: bool,
    is_raw: bool,
}

impl Settings for File {
    const NAME: &'static str = "file";
    /// Reading costs little, and many people may look at one log.
    const MAX_STREAMS: u32 = 16;
    const PROFILE: Profile = Profile::Bulk;
    type Raw = Raw;
    type Bound = Log;

    fn check(raw: Raw) -> Result<File, TargetConfigError> {
        let reading = Reading {
            lines: raw.lines.unwrap_or(LINES),
            history: raw.history,
            follow_symlinks: raw.follow_symlinks,
            is_raw: raw.raw,
        };
        Ok(File { which: Which::check(raw.path, raw.paths)?, reading })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Ro]
    }

    fn params(&self) -> Vec<String> {
        match &self.which {
            Which::One(_) => vec![],
            Which::Some(_) => vec![FILE.to_owned()],
        }
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<Log, ParamError> {
        Ok(Log { picked: self.which.pick(params)?, reading: self.reading })
    }

    fn wants(&self) -> Vec<Wants> {
        self.which.there().into_iter().map(|path| Wants::Path(path, Need::Read)).collect()
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let (which, reading) = (self.which.clone(), self.reading);
        blocking(move || match which {
            Which::One(path) => Log { picked: Picked { path, base: None }, reading }.look(),
            Which::Some(trees) => look_at(&trees),
        })
        .await
    }
}

/// How many files the patterns match, and whether the directories may be read at all.
fn look_at(trees: &[Tree]) -> Result<String, OpenError> {
    let mut found = 0;
    for Tree { base, pattern } in trees {
        fs::read_dir(base).map_err(|error| explain(base, Need::Read, &error))?;
        let matching = glob::glob_with(pattern.as_str(), OPTIONS);
        let matching = matching.map_err(|error| OpenError::failed(format!("{pattern}: {error}")))?;
        found += matching.filter(|path| path.as_ref().is_ok_and(|path| path.is_file())).count();
    }
    Ok(format!("{found} files match"))
}

/// One log file.
#[derive(Clone, Debug)]
pub(super) struct Log {
    picked: Picked,
    reading: Reading,
}

impl Open for Log {
    async fn open(&self, _opening: Opening) -> Result<Opened, OpenError> {
        let tail = self.start(None).await?;
        let log = self.clone();
        let again = move |time| -> log::Opening {
            let log = log.clone();
            Box::pin(async move { log.start(Some(time)).await })
        };
        let again = (self.reading.history > 0).then(|| Box::new(again) as log::Again);
        Ok(log::opened(tail, self.reading.is_raw, again))
    }
}

impl Log {
    /// Begins with the last lines, or with the files that were written to since a time and all of the newest:
    /// lines of a file have no time of their own.
    async fn start(&self, since: Option<u64>) -> Result<Output, OpenError> {
        let log = self.clone();
        let (watcher, file, offset, history) = blocking(move || log.find(since)).await?;
        let (send, files) = mpsc::channel(WAITING_FILES);
        let tail = Tail::new(file, offset, &watcher, files);
        tokio::spawn(watcher.run(send));
        Ok(match history {
            Some(history) => Box::new(history.chain(tail)),
            None => Box::new(tail),
        })
    }

    fn find(&self, since: Option<u64>) -> Result<(Watcher, fs::File, u64, Option<History>), OpenError> {
        let failed = |error| self.failed(&error);
        let (place, Reading { lines, history, .. }) = (self.place()?, self.reading);
        // Before the history is looked at: what is rotated in between is followed, and so not history.
        let (watcher, file) = Watcher::start(place).map_err(failed)?;
        let Some(since) = since else {
            let offset = start_of_last_lines(&file, lines).map_err(failed)?;
            return Ok((watcher, file, offset, None));
        };
        let history = History::of(&self.place()?, &file, since, history as usize).map_err(failed)?;
        Ok((watcher, file, 0, Some(history)))
    }

    fn look(&self) -> Result<String, OpenError> {
        let place = self.place()?;
        let file = place.open(place.name()).map_err(|error| self.failed(&error))?;
        let bytes = file.metadata().map_err(|error| self.failed(&error))?.len();
        Ok(format!("{} has {bytes} bytes and may be read", self.picked.path.display()))
    }

    /// Where the file is. No part of what comes out of this is a link, or the file will not be opened.
    fn place(&self) -> Result<Place, OpenError> {
        let Picked { path, base } = &self.picked;
        if !self.reading.follow_symlinks {
            return Place::of(path).map_err(|error| self.failed(&error));
        }
        let real = fs::canonicalize(path).map_err(|error| self.failed(&error))?;
        if let Some(base) = base {
            let base = fs::canonicalize(base).map_err(|error| self.failed(&error))?;
            if !real.starts_with(&base) {
                return Err(OpenError::failed(format!(
                    "{} leads out of {}, to {}",
                    path.display(),
                    base.display(),
                    real.display()
                )));
            }
        }
        Place::of(&real).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> OpenError {
        match error.raw_os_error().map(nix::errno::Errno::from_raw) {
            // Only inotify gives these two here (inotify_init1(2), inotify_add_watch(2)).
            Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENOSPC) => OpenError::failed(format!(
                "{}: {error}: no more files can be watched, raise fs.inotify.max_user_instances and \
                 fs.inotify.max_user_watches (sysctl) or LimitNOFILE",
                self.picked.path.display()
            )),
            _ => explain(&self.picked.path, Need::Read, error),
        }
    }
}

#[cfg(test)]
mod tests;
