//! A serial line, or another program's terminal (`/dev/ttyS0`, QEMU's `/dev/pts/N`): one client types, and all clients
//! see the same.

mod discover;
mod line;
mod readers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::libc::dev_t;
use serde::Deserialize;

use crate::kind::{Open, Settings};
use crate::support::candidate::{Findings, search};
use crate::support::cell::Cell;
use crate::support::opened::{OpenError, Opened, Opening, blocking};
use crate::support::params::{ParamError, Params};
use crate::support::value::{TargetConfigError, absolute_file};
use crate::support::wants::Wants;
use line::{Line, Speed};
use protocol::mode::Mode;
use protocol::profile::Profile;
use readers::SharedLine;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    path: PathBuf,
    baud: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Serial {
    path: PathBuf,
    /// `None` keeps the line's speed.
    speed: Option<Speed>,
}

/// The open lines, by their device numbers: a line that was opened twice, for two targets, would give each byte to one
/// of them only.
#[derive(Default)]
struct OpenLines(Mutex<BTreeMap<dev_t, Weak<SharedLine>>>);

impl Serial {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Settings for Serial {
    const NAME: &'static str = "serial";
    /// One client types and the others watch.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Serial;

    fn check(raw: Raw) -> Result<Serial, TargetConfigError> {
        let path = absolute_file("path", raw.path)?;
        let speed =
            raw.baud.map(Speed::new).transpose().map_err(|error| TargetConfigError::at("baud", error))?;
        Ok(Serial { path, speed })
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    fn is_terminal(&self) -> bool {
        true
    }

    fn bind(&self, _params: &mut Params<'_>) -> Result<Serial, ParamError> {
        Ok(self.clone())
    }

    fn cell(&self) -> Cell {
        // A device, and one process for all sessions of the line.
        Cell::Shared
    }

    fn wants(&self) -> Vec<Wants> {
        vec![Wants::Device(self.path.clone())]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let path = self.path.clone();
        blocking(move || {
            Line::look(&path)?;
            Ok(format!("{} is there and may be read and written", path.display()))
        })
        .await
    }

    async fn discover() -> Findings {
        search(discover::discover).await
    }
}

impl Open for Serial {
    async fn open(&self, Opening { mode, shared, .. }: Opening) -> Result<Opened, OpenError> {
        let serial = self.clone();
        let handle = tokio::runtime::Handle::current();
        let line = blocking(move || {
            let _runtime = handle.enter();
            serial.line(&shared.of_kind())
        })
        .await?;
        if mode == Mode::Ro {
            return Ok(Opened::read_only(line.reader(false)));
        }
        let writer = line.writer().ok_or_else(|| {
            OpenError::failed(format!(
                "somebody is typing at {} already: one client may, others can open it read-only",
                self.path.display()
            ))
        })?;
        Ok(Opened { input: Some(Box::new(writer)), ..Opened::read_only(line.reader(true)) })
    }
}

impl Serial {
    /// The line if it is open, otherwise opens it.
    fn line(&self, lines: &OpenLines) -> Result<Arc<SharedLine>, OpenError> {
        let device = Line::look(&self.path)?;
        let mut open = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, line| line.strong_count() > 0);
        if let Some(line) = open.get(&device).and_then(Weak::upgrade).filter(|line| !line.is_over()) {
            return Ok(line);
        }
        let line = SharedLine::begin(Line::open(&self.path, self.speed)?);
        open.insert(device, Arc::downgrade(&line));
        Ok(line)
    }
}

#[cfg(test)]
mod tests;
