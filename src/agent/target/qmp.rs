//! The screen of a QEMU that nothing manages: its monitor is given one end of a new pair of sockets,
//! and the stream gets the other, so the machine needs no port and no path for its display.

mod monitor;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::net::UnixStream;

use super::access::{Need, explain};
use super::config::TargetConfigError;
use super::display::Display;
use super::kind::{Connections, Open, Settings};
use super::libvirt::Uuid;
use super::opened::{OpenError, Opened, Opening, blocking};
use super::params::{ParamError, Params};
use super::sandbox::Wants;
use super::unix::{both_ways, connect, socket_path};
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;
use monitor::{Monitor, MonitorError};

/// How long a monitor may be another's until that is said. It is another stream's for a moment when
/// a SPICE client opens all its channels at once.
const BUSY: Duration = Duration::from_secs(5);

/// What the descriptor is called until QEMU has made it a client's.
const NAME: &str = "stream-agent";

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    path: PathBuf,
    display: Display,
    uuid: Option<String>,
    #[serde(default)]
    skip_auth: bool,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Qmp {
    path: PathBuf,
    display: Display,
    /// `None`: whichever machine has this monitor.
    uuid: Option<Uuid>,
    skip_auth: bool,
}

impl Settings for Qmp {
    const NAME: &'static str = "qmp";
    /// QEMU's SPICE opens 8 connections, one per channel.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Qmp;

    fn check(raw: Raw) -> Result<Qmp, TargetConfigError> {
        let uuid = raw.uuid.map(|uuid| uuid.parse()).transpose();
        Ok(Qmp {
            path: socket_path("path", raw.path)?,
            display: raw.display,
            uuid: uuid.map_err(|message: String| TargetConfigError::at("uuid", message))?,
            skip_auth: raw.skip_auth,
        })
    }

    fn connections(&self) -> Connections {
        self.display.connections()
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw]
    }

    fn bind(&self, _params: &mut Params<'_>) -> Result<Qmp, ParamError> {
        Ok(self.clone())
    }

    fn wants(&self) -> Vec<Wants> {
        vec![Wants::Path(self.path.clone(), Need::Connect)]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        self.monitor().await?;
        Ok(format!("the monitor at {} answers", self.path.display()))
    }
}

impl Open for Qmp {
    async fn open(&self, _opening: Opening) -> Result<Opened, OpenError> {
        let mut monitor = self.monitor().await?;
        let failed = |error| self.failed(error);
        let (kept, given) =
            UnixStream::pair().map_err(|error| OpenError::system("a pair of sockets", error))?;
        let named = json!({ "fdname": NAME });
        monitor.pass(&json!({ "execute": "getfd", "arguments": named }), &given).await.map_err(failed)?;
        let client = json!({ "protocol": self.display.name(), "fdname": NAME, "skipauth": self.skip_auth });
        if let Err(error) = monitor.ask("add_client", client).await {
            // Else QEMU would keep it for as long as the monitor is open, or longer.
            let _ = monitor.ask("closefd", named).await;
            return Err(self.no_display(error));
        }
        Ok(both_ways(kept))
    }
}

impl Qmp {
    /// The monitor of the right machine, ready for commands. It is given back by dropping it.
    async fn monitor(&self) -> Result<Monitor, OpenError> {
        let stream = match connect(&self.path).await {
            Ok(stream) => stream,
            Err(error) => {
                let path = self.path.clone();
                return blocking(move || Err(explain(&path, Need::Connect, &error))).await;
            }
        };
        let mut monitor = Monitor::new(stream);
        match tokio::time::timeout(BUSY, monitor.greeting()).await {
            Ok(greeted) => greeted.map_err(|error| self.failed(error))?,
            Err(_) => {
                return Err(OpenError::failed(format!(
                    "the monitor at {} does not greet: QEMU serves one client at a time, and another one has it; \
                     give QEMU a second -qmp socket for stream-agent alone",
                    self.path.display()
                )));
            }
        }
        if let Some(wanted) = self.uuid {
            let answer = monitor.ask("query-uuid", json!({})).await.map_err(|error| self.failed(error))?;
            let found = answer["UUID"].as_str().unwrap_or_default();
            if found.parse() != Ok(wanted) {
                return Err(OpenError::failed(format!(
                    "the machine behind {} has UUID {found:?} and not {wanted}: correct `path` or `uuid`",
                    self.path.display()
                )));
            }
        }
        Ok(monitor)
    }

    fn failed(&self, error: MonitorError) -> OpenError {
        let path = self.path.display();
        OpenError::failed(match error {
            MonitorError::Connection(error) => {
                format!(
                    "{path} does not answer as a QMP monitor does: {error}; `path` has to be QEMU's -qmp socket"
                )
            }
            MonitorError::Refused(why) => format!("QEMU at {path} refuses: {why}"),
        })
    }

    fn no_display(&self, error: MonitorError) -> OpenError {
        let MonitorError::Refused(why) = error else { return self.failed(error) };
        let option = match self.display {
            Display::Spice => "-spice port=0,disable-ticketing=on",
            Display::Vnc => "-vnc none",
        };
        OpenError::failed(format!(
            "QEMU at {} opens no {} display ({why}): start it with {option}, or correct `display`",
            self.path.display(),
            self.display
        ))
    }
}
