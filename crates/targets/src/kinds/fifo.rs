//! A named pipe that a program writes to, such as a serial console's output or a log.

mod path;
mod writers;

use std::path::PathBuf;

use serde::Deserialize;

use crate::kind::{Open, Settings};
use crate::support::access::Need;
use crate::support::log;
use crate::support::opened::{OpenError, Opened, Opening, blocking};
use crate::support::params::{ParamError, Params};
use crate::support::value::{TargetConfigError, absolute_file};
use crate::support::wants::Wants;
use path::FifoPath;
use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;
use writers::Writers;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    path: PathBuf,
    #[serde(default)]
    follow_symlinks: bool,
    #[serde(default)]
    raw: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fifo {
    path: FifoPath,
    is_raw: bool,
}

impl Settings for Fifo {
    const NAME: &'static str = "fifo";
    /// Two readers of one pipe would each get only a part of the bytes.
    const MAX_STREAMS: u32 = 1;
    const PROFILE: Profile = Profile::Bulk;
    const MOST_STREAMS: u32 = 1;
    type Raw = Raw;
    type Bound = Fifo;

    fn check(raw: Raw) -> Result<Fifo, TargetConfigError> {
        let path = absolute_file("path", raw.path)?;
        Ok(Fifo { path: FifoPath { path, follow_symlinks: raw.follow_symlinks }, is_raw: raw.raw })
    }

    fn view(&self) -> Option<View> {
        Some(View::Log)
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Ro]
    }

    fn bind(&self, _params: &mut Params<'_>) -> Result<Fifo, ParamError> {
        Ok(self.clone())
    }

    fn wants(&self) -> Vec<Wants> {
        vec![Wants::Path(self.path.path.clone(), Need::Read)]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        let path = self.path.clone();
        blocking(move || path.look()).await
    }
}

impl Open for Fifo {
    async fn open(&self, _opening: Opening) -> Result<Opened, OpenError> {
        let path = self.path.clone();
        let (path, file) = blocking(move || path.open_end().map(|file| (path, file))).await?;
        let shown = self.path.path.display();
        let writers = Writers::new(path, file).map_err(|error| OpenError::system(shown, error))?;
        // The program that writes must not wait for a viewer.
        let source = log::Unblocked::new(writers);
        Ok(log::opened(source, self.is_raw, None))
    }
}

#[cfg(test)]
mod tests;
