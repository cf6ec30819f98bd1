//! The name of a host as it stands in NATS subjects and grants.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `[A-Za-z0-9_-]{1,64}`: a dot would split a NATS subject, so a raw FQDN is not a host id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(String);

/// Longest host id, in characters: leaves room in a NATS subject and a log line.
const MAX_CHARS: usize = 64;

impl HostId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostId {
    type Err = HostIdError;

    fn from_str(text: &str) -> Result<HostId, HostIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > MAX_CHARS || !text.bytes().all(allowed) {
            return Err(HostIdError);
        }
        Ok(HostId(text.to_owned()))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HostId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HostId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not a host id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostIdError;

impl fmt::Display for HostIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host id: expected 1 to 64 of A-Z a-z 0-9 _ - (no dots: write web1_example_com)")
    }
}

impl std::error::Error for HostIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_subject_token_is_a_host_id() {
        for good in ["a", "web1_example_com", &"x".repeat(64)] {
            assert_eq!(good.parse::<HostId>().unwrap().as_str(), good);
        }
        for bad in ["", "a.b", "*", ">", "a b", "é", &"x".repeat(65)] {
            assert_eq!(bad.parse::<HostId>(), Err(HostIdError), "{bad}");
        }
    }
}
