//! The screen of a QEMU without a manager. Its monitor receives one end of a new pair of sockets, and the stream gets
//! the other, so that the display needs no port and no path.

mod monitor;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::net::UnixStream;
use uuid::Uuid;

use crate::kind::{Connections, Open, Settings};
use crate::support::access::{Need, explain};
use crate::support::display::Display;
use crate::support::opened::{OpenError, Opened, Opening, blocking};
use crate::support::params::{ParamError, Params};
use crate::support::socket::{both_ways, connect, socket_path};
use crate::support::uuid::parse_uuid;
use crate::support::value::TargetConfigError;
use crate::support::wants::Wants;
use monitor::{Monitor, MonitorError};
use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;

/// How long to wait for a monitor that is in use before reporting it. Another stream uses it for a moment if a SPICE
/// client opens all its channels at once.
const BUSY: Duration = Duration::from_secs(5);

/// The name of the descriptor until QEMU uses it for a client.
const NAME: &str = "stream-agent";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    path: PathBuf,
    display: Display,
    uuid: Option<String>,
    #[serde(default)]
    skip_auth: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Qmp {
    path: PathBuf,
    display: Display,
    /// `None`: any machine that has this monitor.
    uuid: Option<Uuid>,
    skip_auth: bool,
}

impl Settings for Qmp {
    const NAME: &'static str = "qmp";
    /// A SPICE client of QEMU opens 8 connections, one per channel.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Qmp;

    fn check(raw: Raw) -> Result<Qmp, TargetConfigError> {
        let uuid = raw.uuid.map(|uuid| parse_uuid(&uuid)).transpose();
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

    fn view(&self) -> Option<View> {
        Some(self.display.view())
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
    async fn open(&self, Opening { shared, .. }: Opening) -> Result<Opened, OpenError> {
        let mut monitor = self.monitor().await?;
        let failed = |error| self.failed(error);
        let (kept, given) =
            UnixStream::pair().map_err(|error| OpenError::system("a pair of sockets", error))?;
        let named = json!({ "fdname": NAME });
        monitor.pass(&json!({ "execute": "getfd", "arguments": named }), &given).await.map_err(failed)?;
        let client = json!({ "protocol": self.display.name(), "fdname": NAME, "skipauth": self.skip_auth });
        if let Err(error) = monitor.ask("add_client", client).await {
            // Otherwise QEMU would keep it as long as the monitor is open, or longer.
            let _ = monitor.ask("closefd", named).await;
            return Err(self.no_display(error));
        }
        both_ways(kept, &shared)
    }
}

impl Qmp {
    /// The monitor of the right machine, ready for commands. Dropping it frees the monitor.
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
