//! Whether a stream is tuned for latency or for throughput.

use serde::{Deserialize, Serialize};

/// How many bytes of a stream may be in buffers of programs and of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For screens and consoles: few, so that a slow client sees recent output.
    Interactive,
    /// For everything else: as many as fast and long paths need.
    #[default]
    Bulk,
}

impl Profile {
    /// The name in configuration and headers.
    pub const fn label(self) -> &'static str {
        match self {
            Profile::Interactive => "interactive",
            Profile::Bulk => "bulk",
        }
    }
}
