//! How a target is best shown to a person.

use serde::{Deserialize, Serialize};

/// What shows a target. Only a hint for pages: every target is bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the field's own names")]
pub enum View {
    Terminal,
    Log,
    Vnc,
    Spice,
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}
