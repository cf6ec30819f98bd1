//! A serial line or a terminal of somebody else's (QEMU's `/dev/pts/N`, `/dev/ttyS0`): one client types,
//! all that are there see the same.

mod line;
mod readers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::Deserialize;

use super::config::{TargetConfigError, absolute_file};
use super::kind::{Open, Settings};
use super::opened::{OpenError, Opened, Opening, blocking};
use super::params::{ParamError, Params};
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;
use line::{Line, Speed};
use readers::Shared;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    path: PathBuf,
    baud: Option<u32>,
}

/// Checked.
#[derive(Clone, Debug)]
pub(super) struct Serial {
    path: PathBuf,
    /// None leaves the line's own.
    speed: Option<Speed>,
    /// The line while somebody has it open. Not part of what the owner wrote.
    open: Arc<Mutex<Weak<Shared>>>,
}

impl PartialEq for Serial {
    fn eq(&self, other: &Serial) -> bool {
        (&self.path, &self.speed) == (&other.path, &other.speed)
    }
}

impl Settings for Serial {
    const NAME: &'static str = "serial";
    /// One that types and others that look on.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Serial;

    fn check(raw: Raw) -> Result<Serial, TargetConfigError> {
        let path = absolute_file("path", raw.path)?;
        let speed =
            raw.baud.map(Speed::of).transpose().map_err(|error| TargetConfigError::at("baud", error))?;
        Ok(Serial { path, speed, open: Arc::default() })
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

    async fn probe(&self) -> Result<String, OpenError> {
        let path = self.path.clone();
        blocking(move || Line::look(&path)).await
    }
}

impl Open for Serial {
    async fn open(&self, Opening { mode, .. }: Opening) -> Result<Opened, OpenError> {
        let serial = self.clone();
        let handle = tokio::runtime::Handle::current();
        let shared = blocking(move || {
            let _runtime = handle.enter();
            serial.shared()
        })
        .await?;
        if mode == Mode::Ro {
            return Ok(Opened::read_only(shared.reader(false)));
        }
        let writer = shared.writer().ok_or_else(|| {
            OpenError::failed(format!(
                "somebody is typing at {} already: one client may, others can open it read-only",
                self.path.display()
            ))
        })?;
        Ok(Opened { input: Some(Box::new(writer)), ..Opened::read_only(shared.reader(true)) })
    }
}

impl Serial {
    /// The line as others have it open, else opened now.
    fn shared(&self) -> Result<Arc<Shared>, OpenError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.upgrade().filter(|shared| !shared.is_over()) {
            return Ok(shared);
        }
        let line = Line::open(&self.path, self.speed)?;
        let shared = Shared::begin(line);
        *open = Arc::downgrade(&shared);
        Ok(shared)
    }
}

#[cfg(test)]
mod tests;
