//! What a user asks for: the body of `POST /api/v1/sessions`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::host::HostId;
use crate::protocol::mode::Mode;

/// The wish, as it is written. Unknown keys are refused: a misspelt limit must not be ignored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// On which host.
    pub host: HostId,
    /// What to open.
    pub target: String,
    /// Its parameters.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Read-only or read-write; the target's own default if not given.
    pub mode: Option<Mode>,
    /// Upper bound on streams.
    pub max_streams: Option<u32>,
    /// Hard end of the session, in seconds.
    pub max_seconds: Option<u64>,
    /// Who asks, for the audit; the key's name if not given.
    pub user: Option<String>,
}
