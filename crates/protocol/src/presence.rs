//! The signs of life of a host: what an agent publishes while it is connected, and when it stops.

use serde::{Deserialize, Serialize};

use super::host::HostId;

/// Version of both messages, as `"v"`. Fields may be added without a new version.
pub const VERSION: u64 = 1;

/// The last word of the subject for [`Alive`] (see [`Subjects::presence`](super::command::Subjects::presence)).
pub const ALIVE: &str = "alive";

/// The last word of the subject for [`Gone`].
pub const GONE: &str = "gone";

/// The usual time between two [`Alive`], in seconds.
pub const EVERY: u64 = 60;

/// The host is connected. Published after each connect, and about every [`every`](Alive::every) seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Always [`VERSION`] in this version.
    pub v: u64,
    /// Id of the host, the same as in the subject.
    pub host: HostId,
    /// Id of this run of the agent, a ULID.
    pub instance: String,
    /// Version of the agent.
    pub version: String,
    /// Since when this run of the agent has been there, RFC 3339 in UTC.
    pub since: String,
    /// The time to the next one, in seconds. Who hears nothing for 2.5 times as long takes the host for offline.
    pub every: u64,
}

/// The agent stops in good order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Always [`VERSION`] in this version.
    pub v: u64,
    /// Id of the host, the same as in the subject.
    pub host: HostId,
    /// Id of the run of the agent that stops: another run with the same host may still be there.
    pub instance: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_messages_have_the_documented_form() {
        let text = r#"{"v":1,"host":"h1","instance":"01J","version":"0.2.0","since":"2026-11-29T20:00:00Z","every":60}"#;
        let alive: Alive = serde_json::from_str(text).unwrap();
        assert_eq!((alive.host.as_str(), alive.every), ("h1", EVERY));
        assert_eq!(serde_json::to_string(&alive).unwrap(), text);
        let text = r#"{"v":1,"host":"h1","instance":"01J"}"#;
        let gone: Gone = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&gone).unwrap(), text);
        assert!(serde_json::from_str::<Gone>(r#"{"v":1,"host":"a.b","instance":"01J"}"#).is_err());
    }
}
