//! What a user asks for: the body of `POST /api/v1/sessions`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::host::HostId;
use crate::protocol::mode::Mode;
use crate::protocol::name::{WHAT_A_NAME_IS, is_name};

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
    /// Hard end of the session, in seconds; the platform's own default if not given.
    pub max_seconds: Option<u64>,
    /// Who asks, for the audit; the key's name if not given.
    pub user: Option<String>,
}

impl Wish {
    /// What the types cannot say.
    ///
    /// # Errors
    /// What is wrong, for the one who asks.
    pub fn check(&self) -> Result<(), String> {
        if !is_name(&self.target) {
            return Err(format!("target is not {WHAT_A_NAME_IS}"));
        }
        if self.user.as_deref().is_some_and(|user| !is_name(user)) {
            return Err(format!("user is not {WHAT_A_NAME_IS}"));
        }
        // Neither could ever open anything.
        if self.max_streams == Some(0) || self.max_seconds == Some(0) {
            return Err("max_streams and max_seconds are at least 1".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_cannot_come_true_is_refused_at_once() {
        let good = r#"{"host":"h1","target":"t","mode":"ro","max_streams":1,"max_seconds":60,"user":"ü"}"#;
        assert_eq!(serde_json::from_str::<Wish>(good).unwrap().check(), Ok(()));
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
            let why = serde_json::from_str::<Wish>(&bad).unwrap().check().unwrap_err();
            assert!(why.contains(word), "{bad}: {why}");
        }
        let misspelt = serde_json::from_str::<Wish>(r#"{"host":"h1","target":"t","max_second":5}"#);
        assert!(misspelt.unwrap_err().to_string().contains("unknown field `max_second`"));
    }
}
