//! What a stream is tuned for.

use serde::{Deserialize, Serialize};

/// How much may be under way in a stream, in buffers of programs and of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Screens and consoles: little, so that what a slow client sees is fresh.
    Interactive,
    /// Everything else: as much as fast and long ways need.
    #[default]
    Bulk,
}

impl Profile {
    /// The word for it, in configuration and headers.
    pub const fn label(self) -> &'static str {
        match self {
            Profile::Interactive => "interactive",
            Profile::Bulk => "bulk",
        }
    }
}
