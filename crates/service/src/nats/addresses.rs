//! The addresses of configured servers. The library tries the addresses of a name one after the other, 5 s each, and of
//! a websocket's name only the first. So one that swallows packets delays a host, or keeps it away. Therefore the
//! addresses are raced before each try (RFC 8305). If the library would wait for a dead one, it gets the one that
//! answers, as a server of its own. The certificate is still checked against the name.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::{Server, ServerAddr};
use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use net::{list, look_up, race};

/// The addresses of the names in `servers`.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// The configured servers that have a name.
    named: Vec<ServerAddr>,
    known: Mutex<Vec<NamedAddress>>,
    /// Servers that were dialled by address since the last connection. The next try uses the name, which a proxy may
    /// need.
    dialled: Mutex<Vec<ServerAddr>>,
}

/// A server by its name, and the same server by one of its addresses.
#[derive(Clone, Debug)]
pub(super) struct NamedAddress {
    name: ServerAddr,
    ip: IpAddr,
    pub(super) address: ServerAddr,
}

impl Addresses {
    /// Looks nothing up yet.
    pub(super) fn new(configured: &[ServerAddr]) -> Addresses {
        let named = configured.iter().filter(|server| server.host().parse::<IpAddr>().is_err());
        Addresses { named: named.cloned().collect(), ..Addresses::default() }
    }

    /// Whether any server has a name.
    pub(super) fn has_names(&self) -> bool {
        !self.named.is_empty()
    }

    /// Looks up all names. A name that cannot be looked up now keeps its earlier addresses.
    pub(super) async fn look_up(&self) {
        let found = join_all(self.named.iter().map(|name| look_up(name.host(), name.port()))).await;
        let mut known = lock(&self.known);
        for (name, found) in self.named.iter().zip(found) {
            let Ok(found) = found else { continue };
            known.retain(|known| known.name != *name);
            // With one address there is nothing to choose.
            if found.len() > 1 {
                known.extend(found.iter().filter_map(|address| NamedAddress::new(name, address.ip())));
            }
        }
    }

    /// All names' servers by address.
    pub(super) fn known(&self) -> Vec<ServerAddr> {
        lock(&self.known).iter().map(|known| known.address.clone()).collect()
    }

    /// The names that have this address.
    pub(super) fn names(&self, ip: IpAddr) -> Vec<ServerName<'static>> {
        let known = lock(&self.known);
        let names = known.iter().filter(|known| known.ip == ip).map(|known| known.name.host().to_owned());
        names.filter_map(|name| ServerName::try_from(name).ok()).collect()
    }

    /// Called after a connect: addresses may be dialled again.
    pub(super) fn connected(&self) {
        lock(&self.dialled).clear();
    }

    /// The server to dial: by its name, unless the library would wait for an address that does not answer. `pool` has
    /// the servers that the library can dial.
    ///
    /// # Errors
    /// If no address answers: the error of each.
    pub(super) async fn choose(&self, server: &ServerAddr, pool: &[Server]) -> Result<ServerAddr, String> {
        if !self.named.contains(server) {
            return Ok(server.clone());
        }
        // The library's own error says that there is no address, or how the only one fails.
        let addresses = look_up(server.host(), server.port()).await.unwrap_or_default();
        if addresses.len() < 2 {
            return Ok(server.clone());
        }
        let refused: Mutex<Vec<SocketAddr>> = Mutex::default();
        let reached = race(&addresses, |address| {
            let refused = &refused;
            async move {
                let connected = TcpStream::connect(address).await;
                connected.map(|_| address).inspect_err(|_| lock(refused).push(address))
            }
        });
        let reached = reached.await.map_err(|all| list(&all))?;
        let refused = std::mem::take(&mut *lock(&refused));
        let before = addresses.iter().take_while(|address| **address != reached);
        if is_reached_by_name(server, before, &refused) {
            return Ok(server.clone());
        }
        let mut dialled = lock(&self.dialled);
        if dialled.contains(server) {
            dialled.retain(|dialled| dialled != server);
            return Ok(server.clone());
        }
        let by_address = NamedAddress::new(server, reached.ip()).map(|known| known.address);
        let by_address = by_address.filter(|address| pool.iter().any(|server| server.addr == *address));
        Ok(match by_address {
            Some(address) => {
                dialled.push(server.clone());
                address
            }
            None => server.clone(),
        })
    }
}

impl NamedAddress {
    /// `None` for an address with a scope, which a URL cannot have.
    pub(super) fn new(name: &ServerAddr, ip: IpAddr) -> Option<NamedAddress> {
        let mut url = name.clone().into_inner();
        url.set_ip_host(ip).ok()?;
        Some(NamedAddress { name: name.clone(), ip, address: ServerAddr::from_url(url).ok()? })
    }
}

/// Whether the library, given the name, reaches the address that answers without a wait for those `before` it.
fn is_reached_by_name<'a>(
    server: &ServerAddr,
    mut before: impl Iterator<Item = &'a SocketAddr>,
    refused: &[SocketAddr],
) -> bool {
    match server.is_websocket() {
        true => before.next().is_none(),
        false => before.all(|address| refused.contains(address)),
    }
}

/// Nothing panics while holding one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_by_address_keeps_scheme_port_and_path() {
        let by = |url: &str, ip: &str| {
            let server: ServerAddr = url.parse().unwrap();
            NamedAddress::new(&server, ip.parse().unwrap()).unwrap().address.as_url_str().to_owned()
        };
        assert_eq!(by("tls://nats.test", "192.0.2.1"), "tls://192.0.2.1");
        assert_eq!(by("nats.test:4223", "2001:db8::1"), "nats://[2001:db8::1]:4223");
        assert_eq!(by("wss://nats.test:8443/nats", "192.0.2.1"), "wss://192.0.2.1:8443/nats");
    }

    #[test]
    fn the_name_is_used_unless_the_library_would_wait() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let (dead, refused) = (at("192.0.2.1:1"), at("192.0.2.2:1"));
        for (url, before, by_name) in [
            ("tls://a", &[][..], true),
            ("tls://a", &[refused], true),
            ("tls://a", &[refused, dead], false),
            ("wss://a", &[], true),
            ("wss://a", &[refused], false),
        ] {
            let server = url.parse().unwrap();
            assert_eq!(is_reached_by_name(&server, before.iter(), &[refused]), by_name, "{url} {before:?}");
        }
    }
}
