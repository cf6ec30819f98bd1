//! The id of a host in NATS subjects and grants.

use std::fmt;
use std::str::FromStr;

use super::name::shown;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `[A-Za-z0-9_-]{1,64}`. A dot would split a NATS subject, so a host name with dots is not a host id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(String);

/// Longest host id, in characters, so that NATS subjects and log lines stay short.
const MAX_CHARS: usize = 64;

impl HostId {
    /// The id as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostId {
    type Err = HostIdError;

    fn from_str(text: &str) -> Result<HostId, HostIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > MAX_CHARS || !text.bytes().all(allowed) {
            return Err(HostIdError(shown(text).into_owned()));
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

/// The text is not a host id. Holds the text, with invisible characters escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a host id, which has 1 to 64 of A-Z a-z 0-9 _ -{hint}", hint = hint(.0))]
pub struct HostIdError(String);

/// What the host id may be, if only dots are wrong.
fn hint(given: &str) -> String {
    match given.replace('.', "_").parse::<HostId>() {
        Ok(likely) => format!(", and no dots: the host_id in the agent's configuration may be {likely}"),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_subject_token_is_a_host_id() {
        for good in ["a", "web1_example_com", &"x".repeat(64)] {
            assert_eq!(good.parse::<HostId>().unwrap().as_str(), good);
        }
        for bad in ["", "a.b", "*", ">", "a b", "é", &"x".repeat(65)] {
            let why = bad.parse::<HostId>().unwrap_err().to_string();
            assert!(why.starts_with(&format!("\"{bad}\" is not a host id")), "{why}");
        }
        let why = "web1.example.com".parse::<HostId>().unwrap_err().to_string();
        assert!(why.ends_with("may be web1_example_com"), "{why}");
    }
}
