//! What agents tell each other: who answers for a host. Everybody on the bus can say it, so only its form is believed.

use serde::{Deserialize, Serialize};

use crate::protocol::command::VERSION;
use crate::protocol::host::HostId;

/// The longest version, in characters.
const MAX_VERSION: usize = 32;

/// Who answers for a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hello {
    v: u64,
    host: HostId,
    instance: String,
    version: String,
}

impl Hello {
    /// A new instance of the agent of `host`.
    pub fn new(host: HostId) -> Hello {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Hello { v: VERSION, host, instance: ulid::Ulid::generate().to_string(), version }
    }

    /// What `payload` says, if an agent of `host` can have said it: its instance is a ULID, its version is short and
    /// printable.
    pub fn of(payload: &[u8], host: &HostId) -> Option<Hello> {
        #[derive(Deserialize)]
        struct Said {
            v: u64,
            host: HostId,
            instance: String,
            version: String,
        }
        let Said { v, host: named, instance, version } = serde_json::from_slice(payload).ok()?;
        let instance = instance.parse::<ulid::Ulid>().ok()?.to_string();
        let is_version =
            (1..=MAX_VERSION).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_graphic());
        (named == *host && is_version).then_some(Hello { v, host: named, instance, version })
    }

    /// The host.
    pub fn host(&self) -> &HostId {
        &self.host
    }

    /// One run of an agent: a ULID.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The version of its program.
    pub fn version(&self) -> &str {
        &self.version
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_an_agent_of_this_host_can_have_said_is_believed() {
        let host: HostId = "h1".parse().unwrap();
        let own = Hello::new(host.clone());
        assert_eq!(Hello::of(&serde_json::to_vec(&own).unwrap(), &host), Some(own.clone()));
        let long = "1".repeat(MAX_VERSION + 1);
        let id = own.instance();
        for (host_id, instance, version) in [
            ("h2", id, "0.1.0"),
            ("h1", "X\nforged", "0.1.0"),
            ("h1", "", "0.1.0"),
            ("h1", id, ""),
            ("h1", id, "0.1\u{1b}[2J"),
            ("h1", id, &long),
        ] {
            let said = json!({ "v": 1, "host": host_id, "instance": instance, "version": version });
            assert_eq!(Hello::of(said.to_string().as_bytes(), &host), None, "{said}");
        }
        assert_eq!(Hello::of(br#"{"test":true}"#, &host), None);
    }
}
