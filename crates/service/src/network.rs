//! The network that counts as one peer, where something is counted by address.

use std::net::IpAddr;

use ipnet::IpNet;

/// The prefix of one IPv6 subscriber, in bits.
pub const SUBSCRIBER: u8 = 64;

/// The prefix of one IPv6 site, in bits.
pub const SITE: u8 = 48;

/// The address itself with IPv4, and its network with this prefix with IPv6.
pub fn containing(address: IpAddr, ipv6_bits: u8) -> IpNet {
    let bits = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => ipv6_bits,
    };
    // With more bits than an address has, it is the address itself.
    IpNet::new(address, bits).unwrap_or_else(|_| IpNet::from(address)).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_as_its_network_and_an_ipv4_address_as_itself() {
        let network = |address: &str, bits| containing(address.parse().unwrap(), bits).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6", SUBSCRIBER), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2:3:4:5:6", SITE), "2001:db8:1::/48");
        assert_eq!(network("1.2.3.4", SUBSCRIBER), "1.2.3.4/32");
    }
}
