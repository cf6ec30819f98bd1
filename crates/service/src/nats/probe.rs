//! Which addresses of a configured server accept connections, for a test of the connection.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_nats::ServerAddr;

use net::{each, look_up};

use super::addresses::NamedAddress;
use super::servers::HostPort;

/// Which addresses of a server accept connections.
#[derive(Debug)]
pub struct ServerProbe {
    server: ServerAddr,
    /// The result of each address, or why its name has none.
    pub addresses: io::Result<Vec<(SocketAddr, io::Result<Duration>)>>,
}

impl ServerProbe {
    /// Looks up a server and connects to each of its addresses.
    pub async fn run(server: &ServerAddr) -> ServerProbe {
        let addresses = match look_up(server.host(), server.port()).await {
            Ok(addresses) => Ok(each(&addresses).await),
            Err(error) => Err(error),
        };
        ServerProbe { server: server.clone(), addresses }
    }

    /// Host and port, for logs.
    pub fn server(&self) -> String {
        HostPort(&self.server).to_string()
    }

    /// Whether its name has several addresses.
    pub(super) fn has_several_addresses(&self) -> bool {
        self.addresses.as_ref().is_ok_and(|addresses| addresses.len() > 1)
    }

    /// Whether one of its addresses answers.
    pub fn is_reachable(&self) -> bool {
        self.first().is_some()
    }

    /// How to dial it: by its name. If its first address does not answer, first by the address that does.
    pub(super) fn dial_order(&self, may_use_address: bool) -> Vec<ServerAddr> {
        let first = self.first().filter(|_| may_use_address);
        let before = self.addresses.iter().flatten().take_while(|(_, connected)| connected.is_err());
        let by_name = self.server.clone();
        match first {
            Some(ip) if before.count() > 0 => NamedAddress::new(&self.server, ip)
                .map(|known| known.address)
                .into_iter()
                .chain([by_name])
                .collect(),
            _ => vec![by_name],
        }
    }

    fn first(&self) -> Option<IpAddr> {
        let addresses = self.addresses.as_ref().ok()?;
        addresses.iter().find(|(_, connected)| connected.is_ok()).map(|(address, _)| address.ip())
    }
}

impl fmt::Display for ServerProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = match &self.addresses {
            Ok(addresses) => addresses,
            Err(error) => return write!(f, "name lookup of {}: {error}", self.server.host()),
        };
        for (number, (address, connected)) in addresses.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            match connected {
                Ok(took) => write!(f, "{comma}{} in {:.1} ms", address.ip(), took.as_secs_f64() * 1e3)?,
                Err(error) => write!(f, "{comma}connect to {}: {error}", address.ip())?,
            }
        }
        Ok(())
    }
}
