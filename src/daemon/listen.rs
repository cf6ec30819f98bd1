//! Where a program listens: a TCP address or a unix socket, as written in the settings.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a unix socket's address begins with.
const UNIX: &str = "unix:";

/// `host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address and port as [`tokio::net::TcpListener::bind`] takes them; IPv6 in brackets.
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<ListenAddress, ListenAddressError> {
        let wrong = || ListenAddressError(text.to_owned());
        if let Some(path) = text.strip_prefix(UNIX) {
            return if path.starts_with('/') { Ok(ListenAddress::Unix(path.into())) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host_is_sound = match in_brackets {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        let port_is_sound = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
        if host_is_sound && port_is_sound { Ok(ListenAddress::Tcp(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => f.write_str(address),
            ListenAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ListenAddress, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was written is no address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddressError(String);

impl fmt::Display for ListenAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is no address to listen at, expected \"127.0.0.1:8443\", \"[::]:443\" or \"unix:/run/x.sock\"",
            self.0
        )
    }
}

impl std::error::Error for ListenAddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_their_written_form() {
        for text in ["127.0.0.1:0", "[::]:443", "[::1]:8443", "localhost:80", "unix:/run/stream/relay.sock"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(matches!(address, ListenAddress::Unix(_)), text.starts_with("unix:"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "", "8443", ":8443", "::1:80", "[::1]", "[x]:1", "a:", "a:70000", "a:+1", "a b:1", "unix:",
            "unix:x",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
