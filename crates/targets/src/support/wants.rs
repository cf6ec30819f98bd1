//! What a target needs from the sandbox of the unit that opens it.

use std::path::PathBuf;

use super::access::Need;

/// The user of the agent's unit.
pub const SERVICE_USER: &str = "stream-agent";

/// The user of the split agent's opener.
pub const OPENER_USER: &str = "stream-opener";

/// One thing that a target needs from the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Access to a file, directory or socket.
    Path(PathBuf, Need),
    /// Access to a device, for reading and writing.
    Device(PathBuf),
    Group(&'static str),
    /// Membership in a group in the user database, because somebody else looks it up: `usermod`, and who looks.
    Member(&'static str, &'static str),
    /// A rule of polkit for this action.
    Polkit(&'static str),
    /// A view of other users' processes in /proc.
    OtherProcesses,
    /// The network, and what listens on this host.
    Network,
    /// A program that runs as this user.
    User(String),
    /// Root, and most of what the unit takes away; the reason.
    Root(&'static str),
}
