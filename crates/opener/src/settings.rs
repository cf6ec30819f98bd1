//! What an opener needs of the agent's configuration. It reads no secret.

use std::time::Duration;

use protocol::host::HostId;
use protocol::issuers::Issuers;
use targets::Target;

/// What an opener needs of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub host: HostId,
    pub authority: Authority,
    /// Relays that grants may name.
    pub relays: Vec<String>,
    /// Whether the host has a key of its own, which grants may ask for.
    pub has_host_key: bool,
    /// Longest duration of a session.
    pub session: Duration,
    pub targets: Vec<Target>,
    /// The targets as their owner has written them, for cells.
    pub tables: toml::Table,
}

/// Who may have a session begin.
#[derive(Clone, Debug)]
pub enum Authority {
    /// The platform, by a signed grant.
    Grants { issuers: Issuers, leeway: Duration },
    /// The network half. In simple mode nothing proves that a platform has asked.
    NetworkHalf,
}
