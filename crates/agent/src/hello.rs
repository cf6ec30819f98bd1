//! The message by which agents with one host id find each other. Every NATS client can send it, so only its form is
//! trusted.

use serde::{Deserialize, Serialize};

use protocol::command::VERSION;
use protocol::host::HostId;

/// The longest version, in characters.
const MAX_VERSION: usize = 32;

/// One instance of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hello {
    v: u64,
    host: HostId,
    instance: String,
    version: String,
}

impl Hello {
    /// A new instance of the agent of `host`.
    pub(crate) fn new(host: HostId) -> Hello {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Hello { v: VERSION, host, instance: ulid::Ulid::generate().to_string(), version }
    }

    /// Reads a message that may be of an agent of `host`: its instance is a ULID, its version short and printable.
    pub(crate) fn parse(payload: &[u8], host: &HostId) -> Option<Hello> {
        #[derive(Deserialize)]
        struct Raw {
            v: u64,
            host: HostId,
            instance: String,
            version: String,
        }
        let Raw { v, host: named, instance, version } = serde_json::from_slice(payload).ok()?;
        let instance = instance.parse::<ulid::Ulid>().ok()?.to_string();
        let is_version =
            (1..=MAX_VERSION).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_graphic());
        (named == *host && is_version).then_some(Hello { v, host: named, instance, version })
    }

    pub(crate) fn host(&self) -> &HostId {
        &self.host
    }

    /// A ULID for one run of an agent.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Version of the instance's program.
    pub(crate) fn version(&self) -> &str {
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
        assert_eq!(Hello::parse(&serde_json::to_vec(&own).unwrap(), &host), Some(own.clone()));
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
            assert_eq!(Hello::parse(said.to_string().as_bytes(), &host), None, "{said}");
        }
        assert_eq!(Hello::parse(br#"{"test":true}"#, &host), None);
    }
}
