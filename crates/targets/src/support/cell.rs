//! In which process of the split agent a target is opened (docs/decisions/0011-split-agent.md).

/// The process that opens a target. Decided by the configuration alone, because the opener asks for each session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The opener itself. Files and sockets that its user cannot reach may still have a unit of their own, which the
    /// opener finds by its socket.
    Opener,
    /// The shipped unit for programs without needs of their own.
    Program,
    /// A unit for this target, because it needs a user, a group or a device.
    Own,
    /// The same, and all sessions share one process, because they share what it has open.
    Shared,
}
