//! Where a connection comes from: the address that limits and records go by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: that of the connection, or what a trusted proxy says about it.
///
/// Of `X-Forwarded-For` the last address that is not itself a trusted proxy counts: everything before
/// it was written by somebody we do not trust.
pub fn address(connection: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut address = connection.to_canonical();
    if !is_trusted(address) {
        return address;
    }
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
    for hop in lines.iter().flat_map(|line| line.split(',')).rev() {
        // A list may have empty elements (RFC 9110 section 5.6.1).
        if hop.trim().is_empty() {
            continue;
        }
        let Some(hop) = hop_address(hop.trim()) else { break };
        address = hop.to_canonical();
        if !is_trusted(address) {
            break;
        }
    }
    address
}

/// An address as proxies write it: some add the port, and brackets where it has colons.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let in_brackets = |hop: &str| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(hop.parse::<std::net::SocketAddr>().ok()?.ip());
    hop.parse().ok().or_else(with_port).or_else(|| in_brackets(hop))
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
        for hops in ["[2001:db8::7]:443", "[2001:db8::7]", "2001:db8::7"] {
            assert_eq!(seen("10.0.0.1", &[hops], "10.0.0.0/8"), "2001:db8::7", "{hops}");
        }
        assert_eq!(seen("10.0.0.1", &["nonsense"], "10.0.0.0/8"), "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["2.2.2.2"], "10.0.0.0/8"), "2.2.2.2");
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let bucket = |text: &str| bucket(text.parse().unwrap()).to_string();
        assert_eq!(bucket("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(bucket("1.2.3.4"), "1.2.3.4");
    }
}
