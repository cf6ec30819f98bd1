//! Whether a client may write to a target or only watch it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Read-only or read-write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The client's bytes never reach the target.
    Ro,
    /// Bytes go both ways.
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
