//! Which network an address stands for where something is counted by address.

use std::net::IpAddr;

use ipnet::IpNet;

/// What one IPv6 subscriber has to choose addresses from, in bits.
pub const SUBSCRIBER: u8 = 64;

/// What one IPv6 site is given, in bits.
pub const SITE: u8 = 48;

/// The address itself with IPv4, its network of so many bits with IPv6.
pub fn of(address: IpAddr, ipv6_bits: u8) -> IpNet {
    let bits = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => ipv6_bits,
    };
    // More bits than an address has mean the address itself.
    IpNet::new(address, bits).unwrap_or_else(|_| IpNet::from(address)).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_for_its_network_and_an_ipv4_address_for_itself() {
        let of = |address: &str, bits| of(address.parse().unwrap(), bits).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6", SUBSCRIBER), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2:3:4:5:6", SITE), "2001:db8:1::/48");
        assert_eq!(of("1.2.3.4", SUBSCRIBER), "1.2.3.4/32");
    }
}
