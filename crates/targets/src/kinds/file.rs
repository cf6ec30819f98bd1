//! A log file: its last lines, then what is written to it, across any rotation. Never writes to it.

mod changed;
mod discover;
mod history;
mod last_lines;
mod local;
mod location;
mod mark;
mod open_file;
mod packed;
mod pending;
mod rotated;
mod tail;
mod text;
mod watcher;
mod watches;
mod way;
mod which;

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;

use crate::kind::{Open, Settings};
use crate::support::access::{Need, explain};
use crate::support::candidate::{Findings, search};
use crate::support::log;
use crate::support::names::OPTIONS;
use crate::support::opened::{OpenError, Opened, Opening, Output, blocking};
use crate::support::params::{Param, ParamError, Params};
use crate::support::tasks::spawn;
use crate::support::value::TargetConfigError;
use crate::support::wants::Wants;
use history::History;
use last_lines::start_of_last_lines;
use tail::Tail;
use watcher::{New, Watcher};
use way::Way;
use which::{FILE, Picked, Tree, Which};

/// How many of the last lines are shown if the owner does not say, as in tail(1).
const LINES: u32 = 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
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

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    which: Which,
    reading: ReadOptions,
}

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ReadOptions {
    lines: u32,
    /// How many rotated files a client may ask for.
    history: u32,
    /// Follows symbolic links, even if they change later.
    follow_symlinks: bool,
    is_raw: bool,
}

impl Settings for File {
    const NAME: &'static str = "file";
    /// Reading costs little, and many people may read one log.
    const MAX_STREAMS: u32 = 16;
    const PROFILE: Profile = Profile::Bulk;
    type Raw = Raw;
    type Bound = Log;

    fn check(raw: Raw) -> Result<File, TargetConfigError> {
        let reading = ReadOptions {
            lines: raw.lines.unwrap_or(LINES),
            history: raw.history,
            follow_symlinks: raw.follow_symlinks,
            is_raw: raw.raw,
        };
        Ok(File { which: Which::check(raw.path, raw.paths)?, reading })
    }

    fn view(&self) -> Option<View> {
        Some(View::Log)
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Ro]
    }

    fn params(&self) -> Vec<Param> {
        match &self.which {
            Which::One(_) => vec![],
            Which::Some(_) => vec![Param { name: FILE.to_owned(), choices: None }],
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

    async fn discover() -> Findings {
        search(discover::discover).await
    }
}

/// Counts the files that the patterns match, and checks that the directories can be read.
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

/// One log file and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    picked: Picked,
    reading: ReadOptions,
}

impl Open for Log {
    async fn open(&self, _opening: Opening) -> Result<Opened, OpenError> {
        let tail = self.start(None).await?;
        let log = self.clone();
        let again = move |time| -> log::Reopening {
            let log = log.clone();
            Box::pin(async move { log.start(Some(time)).await })
        };
        let again = (self.reading.history > 0).then(|| Box::new(again) as log::Again);
        Ok(log::opened(tail, self.reading.is_raw, again))
    }
}

impl Log {
    /// Begins with the last lines. With a time, begins with the files that were written to since then, and all of the
    /// newest: the lines of a file have no times.
    async fn start(&self, since: Option<u64>) -> Result<Output, OpenError> {
        let log = self.clone();
        let (watcher, file, offset, history) = blocking(move || log.find(since)).await?;
        let (send, files) = mpsc::unbounded_channel();
        let tail = Tail::new(file, offset, &watcher, files);
        spawn(watcher.run(send));
        Ok(match history {
            Some(history) => Box::new(history.chain(tail)),
            None => Box::new(tail),
        })
    }

    fn find(&self, since: Option<u64>) -> Result<(Watcher, New, u64, Option<History>), OpenError> {
        let (way, ReadOptions { lines, history, .. }) = (self.way(), self.reading);
        // The watcher starts before the history is read: a file that is rotated in between is followed, and is not
        // history.
        let (watcher, new) = Watcher::start(way.clone())?;
        let Some(since) = since else {
            let offset = start_of_last_lines(&new.file, lines).map_err(|error| way.failed(&error))?;
            return Ok((watcher, new, offset, None));
        };
        let history = History::open(&way.location()?, &new.file, since, history as usize);
        Ok((watcher, new, 0, Some(history.map_err(|error| way.failed(&error))?)))
    }

    fn look(&self) -> Result<String, OpenError> {
        let way = self.way();
        let location = way.location()?;
        let file = location.open(location.name()).map_err(|error| way.failed(&error))?;
        let bytes = file.metadata().map_err(|error| way.failed(&error))?.len();
        Ok(format!("{} has {bytes} bytes and may be read", self.picked.path.display()))
    }

    fn way(&self) -> Way {
        Way { picked: self.picked.clone(), follow_symlinks: self.reading.follow_symlinks }
    }
}

#[cfg(test)]
mod tests;
