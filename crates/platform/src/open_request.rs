//! The body of `POST /api/v1/sessions`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use protocol::host::HostId;
use protocol::mode::Mode;
use protocol::name::{WHAT_A_NAME_IS, is_name};

use super::whole_number::whole_number;

/// A request to open a target. Unknown keys are refused, because a misspelt limit must not be ignored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenRequest {
    /// Id of the host that has the target.
    pub host: HostId,
    /// Name of the target to open.
    pub target: String,
    /// Parameters of the target, if it takes any.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Read-only or read-write; the target's own default if not given.
    pub mode: Option<Mode>,
    /// Most streams of the session.
    #[serde(default, deserialize_with = "whole_number")]
    pub max_streams: Option<u32>,
    /// Hard end of the session, in seconds; the platform's own default if not given.
    #[serde(default, deserialize_with = "whole_number")]
    pub max_seconds: Option<u64>,
    /// The user who asks, for the audit; the key's name if not given.
    pub user: Option<String>,
}

impl OpenRequest {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// What is wrong, for the client.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !is_name(&self.target) {
            return Err(format!("target is not {WHAT_A_NAME_IS}"));
        }
        if self.user.as_deref().is_some_and(|user| !is_name(user)) {
            return Err(format!("user is not {WHAT_A_NAME_IS}"));
        }
        // With a 0 the session could never open anything.
        if self.max_streams == Some(0) {
            return Err("max_streams is 0: write 1 or more, or leave it out".into());
        }
        if self.max_seconds == Some(0) {
            return Err("max_seconds is 0: write 1 or more, or leave it out".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_can_never_open_anything_is_refused_at_once() {
        let good = r#"{"host":"h1","target":"t","mode":"ro","max_streams":1,"max_seconds":60,"user":"ü"}"#;
        assert_eq!(serde_json::from_str::<OpenRequest>(good).unwrap().check(), Ok(()));
        for (bad, word) in [
            (r#"{"host":"h1","target":""}"#.to_owned(), "target"),
            (r#"{"host":"h1","target":"a\nb"}"#.to_owned(), "target"),
            (format!(r#"{{"host":"h1","target":"{}"}}"#, "x".repeat(257)), "target"),
            (r#"{"host":"h1","target":"t","user":"\u0007"}"#.to_owned(), "user"),
            (r#"{"host":"h1","target":"t","user":"a\u202eb"}"#.to_owned(), "user"),
            (r#"{"host":"h1","target":"t","user":"root\u200b"}"#.to_owned(), "user"),
            (r#"{"host":"h1","target":"t","max_streams":0}"#.to_owned(), "max_streams"),
            (r#"{"host":"h1","target":"t","max_seconds":0}"#.to_owned(), "max_seconds"),
        ] {
            let why = serde_json::from_str::<OpenRequest>(&bad).unwrap().check().unwrap_err();
            assert!(why.contains(word), "{bad}: {why}");
        }
        let misspelt = serde_json::from_str::<OpenRequest>(r#"{"host":"h1","target":"t","max_second":5}"#);
        assert!(misspelt.unwrap_err().to_string().contains("unknown field `max_second`"));
    }
}
