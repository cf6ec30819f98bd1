//! Screens of libvirt's virtual machines. The machine is found by its name, and libvirt passes a socket that is
//! connected to the machine's QEMU, so that the display needs no port and no path.

mod discover;
mod domain;
mod graphics;
mod refusal;
mod rpc;
mod xdr;

use std::path::PathBuf;

use serde::Deserialize;

use crate::kind::{Connections, Open, Settings};
use crate::support::candidate::Findings;
use crate::support::cell::Cell;
use crate::support::display::Display;
use crate::support::names::Names;
use crate::support::opened::{OpenError, Opened, Opening};
use crate::support::params::{Param, ParamError, Params};
use crate::support::socket::{both_ways, socket_path};
use crate::support::uuid::parse_uuid;
use crate::support::value::{TargetConfigError, without_nul};
use crate::support::wants::Wants;
use graphics::Client;
use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;

/// The URI of the host's machines, as opposed to those of one user.
const URI: &str = "qemu:///system";

/// The parameter that picks a machine.
const PARAM: &str = "domain";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    domains: Names,
    uuids: Option<Vec<String>>,
    display: Option<Display>,
    socket: Option<PathBuf>,
    uri: Option<String>,
    #[serde(default)]
    skip_auth: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Libvirt {
    domains: Names,
    client: Client,
}

impl Settings for Libvirt {
    const NAME: &'static str = "libvirt";
    /// A SPICE client of QEMU opens 8 connections, one per channel.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = PickedMachine;

    fn check(raw: Raw) -> Result<Libvirt, TargetConfigError> {
        let wrong = |key: &str, message: String| TargetConfigError::at(key, message);
        let socket = raw.socket.map(|socket| socket_path("socket", socket)).transpose()?;
        let uri = raw.uri.unwrap_or_else(|| URI.to_owned());
        without_nul("uri", uri.as_bytes())?;
        let uuids = raw.uuids.map(|uuids| match uuids.is_empty() {
            true => Err("is empty: leave it out where every machine with the right name is meant".to_owned()),
            false => uuids.iter().map(|uuid| parse_uuid(uuid)).collect(),
        });
        let uuids = uuids.transpose().map_err(|message| wrong("uuids", message))?;
        let client = Client { socket, uri, uuids, display: raw.display, skip_auth: raw.skip_auth };
        Ok(Libvirt { domains: raw.domains, client })
    }

    fn connections(&self) -> Connections {
        self.client.display.map_or(Connections::Several, Display::connections)
    }

    fn view(&self) -> Option<View> {
        self.client.display.map(Display::view)
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw]
    }

    fn params(&self) -> Vec<Param> {
        self.domains.wants(PARAM)
    }

    fn bind(&self, params: &mut Params<'_>) -> Result<PickedMachine, ParamError> {
        let name = self.domains.pick(PARAM, params)?;
        Ok(PickedMachine { name, client: self.client.clone() })
    }

    fn cell(&self) -> Cell {
        // polkit has a rule for the user or group that asks.
        Cell::Own
    }

    fn wants(&self) -> Vec<Wants> {
        vec![Wants::Member("libvirt", "libvirt asks polkit, which")]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        match self.domains.only() {
            Some(name) => self.client.look(name).await,
            None => self
                .client
                .connect()
                .await
                .map(|_| format!("libvirt lets this user open {}", self.client.uri)),
        }
    }

    async fn discover() -> Findings {
        let uri = URI.to_owned();
        let client = Client { socket: None, uri, uuids: None, display: None, skip_auth: false };
        discover::discover(&client).await
    }
}

/// One machine, by its name.
#[derive(Clone, Debug)]
pub(crate) struct PickedMachine {
    name: String,
    client: Client,
}

impl Open for PickedMachine {
    async fn open(&self, Opening { shared, .. }: Opening) -> Result<Opened, OpenError> {
        both_ways(self.client.open_graphics(&self.name).await?, &shared)
    }
}

#[cfg(test)]
mod tests {
    use crate::Target;
    use crate::testing::target;

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        let complaint = |keys: &str| {
            let table = format!("kind = 'libvirt'\n{keys}").parse().unwrap();
            Target::from_table("screens", table).unwrap_err()
        };
        let cases = [
            ("domains = []", "domains", "empty"),
            ("domains = ['a']\nuuids = []", "uuids", "empty"),
            ("domains = ['a']\nuuids = ['b']", "uuids", "not a UUID: write it as `virsh domuuid` does"),
            ("domains = ['a']\ndisplay = 'rdp'", "display", "unknown value"),
            ("domains = ['a']\nsocket = 'run/libvirt'", "socket", "absolute"),
            ("domains = ['a']\nmodes = ['ro']", "modes", "kind libvirt cannot"),
        ];
        for (keys, key, words) in cases {
            let error = complaint(keys);
            assert_eq!(error.key.as_deref(), Some(key), "{keys}");
            assert!(error.message.contains(words), "{keys}: {}", error.message);
        }
    }

    #[test]
    fn only_a_choice_needs_a_parameter() {
        assert_eq!(target("kind = 'libvirt'\ndomains = ['web-*']").info().params, ["domain"]);
        let one = target("kind = 'libvirt'\ndomains = ['web-1']");
        assert_eq!((one.info().params.len(), one.max_streams), (0, 8));
        assert!(one.bind(&[].into()).is_ok());
    }
}
