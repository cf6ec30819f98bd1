//! A serial line or a terminal of somebody else's (QEMU's `/dev/pts/N`, `/dev/ttyS0`): one client types,
//! all that are there see the same.

mod line;
mod readers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::libc::dev_t;
use serde::Deserialize;

use super::config::{TargetConfigError, absolute_file};
use super::kind::{Open, Settings};
use super::opened::{OpenError, Opened, Opening, blocking};
use super::params::{ParamError, Params};
use super::sandbox::Wants;
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Serial {
    path: PathBuf,
    /// None leaves the line's own.
    speed: Option<Speed>,
}

/// The lines that somebody has open, by the numbers of their devices: opened twice, by two targets, a line
/// would give each byte to one of them.
static OPEN: Mutex<BTreeMap<dev_t, Weak<Shared>>> = Mutex::new(BTreeMap::new());

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
        let device = Line::look(&self.path)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = open.get(&device).and_then(Weak::upgrade).filter(|shared| !shared.is_over()) {
            return Ok(shared);
        }
        let shared = Shared::begin(Line::open(&self.path, self.speed)?);
        open.insert(device, Arc::downgrade(&shared));
        Ok(shared)
    }
}

#[cfg(test)]
mod tests;
