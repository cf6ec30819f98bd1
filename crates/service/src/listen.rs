//! The address where a program listens: TCP or a unix socket, as written in the settings.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The prefix of a unix socket's address.
const UNIX: &str = "unix:";

/// `host:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// An address and port as [`tokio::net::TcpListener::bind`] takes them; IPv6 in brackets.
    Tcp(String),
    /// The path of the socket.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<ListenAddress, ListenAddressError> {
        let wrong = || ListenAddressError { given: text.to_owned() };
        if let Some(path) = text.strip_prefix(UNIX) {
            return if path.starts_with('/') { Ok(ListenAddress::Unix(path.into())) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = match in_brackets {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
        if is_host && is_port { Ok(ListenAddress::Tcp(text.to_owned())) } else { Err(wrong()) }
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

/// What was written is not an address to listen at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is no address to listen at, {}", hint(.given))]
pub struct ListenAddressError {
    given: String,
}

fn hint(given: &str) -> String {
    match likely(given) {
        Some(likely) => format!("write \"{likely}\""),
        None => "expected \"127.0.0.1:8443\", \"[::]:443\" or \"unix:/run/x.sock\"".to_owned(),
    }
}

/// The address that was probably meant, for a port alone or a path.
fn likely(given: &str) -> Option<String> {
    let port = given.strip_prefix(':').or(given.strip_prefix("*:")).unwrap_or(given);
    let likely = match given.starts_with('/') {
        true => format!("{UNIX}{given}"),
        false => format!("127.0.0.1:{port}"),
    };
    likely.parse::<ListenAddress>().is_ok().then_some(likely)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_was_written() {
        for text in ["127.0.0.1:0", "[::]:443", "[::1]:8443", "localhost:80", "unix:/run/stream/relay.sock"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(matches!(address, ListenAddress::Unix(_)), text.starts_with("unix:"));
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_likely_address() {
        for text in [
            "", "8443", ":8443", "::1:80", "[::1]", "[x]:1", "a:", "a:70000", "a:+1", "a b:1", "unix:",
            "unix:x",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        for (given, likely) in
            [("5901", "127.0.0.1:5901"), ("*:80", "127.0.0.1:80"), ("/run/a", "unix:/run/a")]
        {
            let why = given.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(why.ends_with(&format!("write \"{likely}\"")), "{why}");
        }
    }
}
