//! What a target needs from the service's sandbox.

use std::path::PathBuf;

use super::access::Need;

/// The user of the shipped unit.
pub(crate) const SERVICE_USER: &str = "stream-agent";

/// One thing that a target needs from the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Access to a file, directory or socket.
    Path(PathBuf, Need),
    /// Access to a device, for reading and writing.
    Device(PathBuf),
    Group(&'static str),
    /// A view of other users' processes in /proc.
    OtherProcesses,
    /// Fixed settings of the unit.
    Settings(&'static [&'static str]),
    /// A text about something that no unit can provide.
    Remark(String),
}

/// For programs that run as another user: root, with the necessary capabilities only.
pub(crate) const ANOTHER_USER: Wants = Wants::Settings(&[
    "User=root",
    "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL",
    "PrivateUsers=no",
    "SystemCallFilter=@setuid @chown",
]);
