//! Where a connection comes from: the address that limits and records go by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Headers by which a proxy says that it passes on what somebody else asks.
const OF_PROXIES: [&str; 4] = [FORWARDED_FOR, "forwarded", "x-real-ip", "via"];

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that limits and records go by.
    pub address: IpAddr,
    /// The address again, where it is the client's own. It is not where a proxy may stand there that is not trusted
    /// to say who is behind it: on loopback, at a unix socket, or with the headers of one.
    pub own: Option<IpAddr>,
}

impl Peer {
    /// The peer of a connection, or who a trusted proxy says is behind it.
    pub fn of(connection: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Peer {
        let is_trusted = trusted.iter().any(|net| net.contains(&connection.to_canonical()));
        let is_proxy = !is_trusted && OF_PROXIES.iter().any(|name| headers.contains_key(*name));
        let address = address(connection, headers, trusted);
        Peer { address, own: own(address, trusted).filter(|_| !is_proxy) }
    }
}

/// The client's address: that of the connection, or what a trusted proxy says about it.
///
/// Of `X-Forwarded-For` the last address that is not itself a trusted proxy counts: everything before
/// it was written by somebody we do not trust.
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
        // Not even the proxy knows (`unknown`): who stands before that may be invented.
        let Some(hop) = hop_address(hop) else { break };
        address = hop;
        if !is_trusted(address) {
            break;
        }
    }
    address
}

/// An address as proxies write it: some add the port, and brackets where it has colons.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches('"');
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(hop.parse::<SocketAddr>().ok()?.ip());
    let address: IpAddr = hop.parse().ok().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

/// The address, if it stands for one peer: behind a trusted proxy, or one on this machine, there may be thousands.
pub fn own(address: IpAddr, trusted: &[IpNet]) -> Option<IpAddr> {
    let address = address.to_canonical();
    let is_shared = address.is_loopback() || trusted.iter().any(|net| net.contains(&address));
    (!is_shared).then_some(address)
}

/// What limits per address count by: an IPv6 client has a /64 to choose addresses from.
pub fn bucket(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// The address of a connection over a unix socket, which comes from this machine.
pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
    fn only_trusted_proxies_are_believed_and_only_about_the_last_stranger() {
        assert_eq!(seen("1.1.1.1", &["2.2.2.2"], "10.0.0.0/8"), "1.1.1.1");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 2.2.2.2"], "10.0.0.0/8"), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "2.2.2.2, 10.0.0.2"], "10.0.0.0/8"), "2.2.2.2");
        assert_eq!(seen("10.0.0.1", &[], "10.0.0.0/8"), "10.0.0.1");
        for hops in ["6.6.6.6, 2.2.2.2:5100", " 2.2.2.2 ,", "2.2.2.2, 10.0.0.2:80"] {
            assert_eq!(seen("10.0.0.1", &[hops], "10.0.0.0/8"), "2.2.2.2", "{hops}");
        }
        // Nobody vouches for what stands before such a word.
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
            Peer::of(connection.parse().unwrap(), &headers, &trusted).own.map(|own| own.to_string())
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
        // A trusted proxy that does not say who is behind it is nobody's own address.
        assert_eq!(own("10.0.0.1", None), None);
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let bucket = |text: &str| bucket(text.parse().unwrap()).to_string();
        assert_eq!(bucket("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(bucket("1.2.3.4"), "1.2.3.4");
    }
}
