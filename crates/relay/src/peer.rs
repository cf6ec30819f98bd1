//! Where a connection comes from: the address that limits count and records name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

use protocol::headers::{FORWARDED_ABSENT, FORWARDED_BELIEVED, FORWARDED_IGNORED};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Headers that proxies add to the requests they forward.
const OF_PROXIES: [&str; 4] = [FORWARDED_FOR, "forwarded", "x-real-ip", "via"];

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address that limits count and records name.
    pub address: IpAddr,
    /// The address again, if it is the client's own. It is not if it may be that of a proxy outside
    /// `trusted_proxies`: a loopback address, a unix socket, or a request with the headers of a proxy.
    pub own: Option<IpAddr>,
    /// What was done with `X-Forwarded-For`, for test dials.
    pub forwarded: &'static str,
}

impl Peer {
    /// The peer of a connection, or the client that a trusted proxy names.
    pub(crate) fn new(connection: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Peer {
        let is_trusted = trusted.iter().any(|net| net.contains(&connection.to_canonical()));
        let is_proxy = !is_trusted && OF_PROXIES.iter().any(|name| headers.contains_key(*name));
        let forwarded = match (headers.contains_key(FORWARDED_FOR), is_trusted) {
            (false, _) => FORWARDED_ABSENT,
            (true, false) => FORWARDED_IGNORED,
            (true, true) => FORWARDED_BELIEVED,
        };
        let address = address(connection, headers, trusted);
        Peer { address, own: own(address, trusted).filter(|_| !is_proxy), forwarded }
    }
}

/// The client's address: that of the connection, or the one that a trusted proxy names.
///
/// Of `X-Forwarded-For`, the last address that is not a trusted proxy counts: whatever is before it was written by
/// a peer that is not trusted.
fn address(connection: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = connection.to_canonical();
    if !is_trusted(address) {
        return address;
    }
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    // A list may have empty elements (RFC 9110 section 5.6.1).
    let hops = lines.iter().flat_map(|line| line.split(',')).map(str::trim).filter(|hop| !hop.is_empty());
    for hop in hops.rev() {
        // Not even the proxy knows (`unknown`): what stands before that may be invented.
        let Some(hop) = hop_address(hop) else { break };
        address = hop;
        if !is_trusted(address) {
            break;
        }
    }
    address
}

/// Parses an address as proxies write it: some add a port, and brackets around an IPv6 address.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches('"');
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(hop.parse::<SocketAddr>().ok()?.ip());
    let address: IpAddr = hop.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

/// The address, if it stands for one peer. Behind a trusted proxy or a loopback address there may be thousands.
pub(crate) fn own(address: IpAddr, trusted: &[IpNet]) -> Option<IpAddr> {
    let address = address.to_canonical();
    let is_shared = address.is_loopback() || trusted.iter().any(|net| net.contains(&address));
    (!is_shared).then_some(address)
}

/// The address of a connection over a unix socket, which comes from this machine.
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(connection: &str, forwarded: &[&str], trusted: &str) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        address(connection.parse().unwrap(), &headers, &[trusted.parse().unwrap()]).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_the_last_untrusted_address() {
        assert_eq!(seen("1.1.1.1", &["2.2.2.2"], "10.0.0.0/8"), "1.1.1.1");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 2.2.2.2"], "10.0.0.0/8"), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "2.2.2.2, 10.0.0.2"], "10.0.0.0/8"), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &[], "10.0.0.0/8"), "10.0.0.1");
        for hops in ["6.6.6.6, 2.2.2.2:5100", " 2.2.2.2 ,", "2.2.2.2, 10.0.0.2:80"] {
            assert_eq!(seen("10.0.0.1", &[hops], "10.0.0.0/8"), "2.2.2.2", "{hops}");
        }
        // What stands before such a word may be invented.
        for hops in ["6.6.6.6, unknown", "6.6.6.6, _hidden"] {
            assert_eq!(seen("10.0.0.1", &[hops], "10.0.0.0/8"), "10.0.0.1", "{hops}");
        }
        for hops in ["[2001:db8::7]:443", "\"[2001:db8::7]:443\"", "[2001:db8::7]", "2001:db8::7"] {
            assert_eq!(seen("10.0.0.1", &[hops], "10.0.0.0/8"), "2001:db8::7", "{hops}");
        }
        assert_eq!(seen("10.0.0.1", &["nonsense"], "10.0.0.0/8"), "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["2.2.2.2"], "10.0.0.0/8"), "2.2.2.2");
    }

    #[test]
    fn an_address_is_a_clients_own_only_where_no_unknown_proxy_can_be() {
        let own = |connection: &str, header: Option<(&'static str, &str)>| {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(name, value.parse().unwrap());
            }
            let trusted = ["10.0.0.0/8".parse().unwrap(), "127.0.0.2/32".parse().unwrap()];
            Peer::new(connection.parse().unwrap(), &headers, &trusted).own.map(|own| own.to_string())
        };
        let client = || Some("2.2.2.2".to_owned());
        assert_eq!(own("2.2.2.2", None), client());
        assert_eq!(own("10.0.0.1", Some((FORWARDED_FOR, "2.2.2.2"))), client());
        assert_eq!(own("127.0.0.2", Some((FORWARDED_FOR, "2.2.2.2"))), client());
        assert_eq!(own("127.0.0.2", Some((FORWARDED_FOR, "127.0.0.1"))), None);
        for connection in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(own(connection, None), None, "{connection}");
        }
        for header in OF_PROXIES {
            assert_eq!(own("2.2.2.2", Some((header, "3.3.3.3"))), None, "{header}");
        }
        // The address of a trusted proxy that names no client is not a client's own.
        assert_eq!(own("10.0.0.1", None), None);
    }
}
