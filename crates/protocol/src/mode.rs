//! Whether a client may write to a target or only read it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Read-only (`ro`) or read-write (`rw`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The client's bytes never reach the target.
    Ro,
    /// Bytes flow in both directions.
    Rw,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Ro => "ro",
            Mode::Rw => "rw",
        })
    }
}
