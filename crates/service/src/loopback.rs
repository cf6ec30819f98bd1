//! Whether a host is this machine, only by its spelling: a resolver's answer must not be a reason to send something
//! without encryption.

use std::net::IpAddr;

/// Whether `host` is `localhost` or a loopback address, without brackets and port.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_name_and_addresses_are_loopback() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.255.3.4", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        let others =
            ["", "0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.com", "localhost.example.com", "127.1"];
        for host in others {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
