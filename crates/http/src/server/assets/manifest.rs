//! The manifest of a directory: which files there are, and what each of them is.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The longest name of a file, in bytes.
const MAX_NAME: usize = 200;

/// What `manifest.json` says. Keys that are not known are for others.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    pub version: String,
    /// Names of files that are filled in before they are served, by what they are for.
    #[serde(default)]
    pub pages: BTreeMap<String, String>,
    pub files: BTreeMap<String, Entry>,
}

/// One file.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    /// Its media type.
    #[serde(rename = "type")]
    pub media_type: String,
    /// The digest of its bytes.
    pub etag: String,
    /// Whether its name changes with its bytes.
    #[serde(default)]
    pub immutable: bool,
    /// The endings of the files beside it that have the same bytes in other codings.
    #[serde(default)]
    pub encodings: Vec<String>,
}

impl Manifest {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &[u8]) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if let Some(name) = manifest.files.keys().find(|name| !is_name(name)) {
            return Err(format!("{name:?} is not a name of a file below this directory"));
        }
        match manifest.pages.values().find(|name| !manifest.files.contains_key(*name)) {
            Some(name) => Err(format!("the page {name:?} is not among its files")),
            None => Ok(manifest),
        }
    }
}

/// Whether it is a relative path of plain words. A path that leads upwards, or to a hidden file, is none.
fn is_name(name: &str) -> bool {
    let is_word = |word: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        !word.is_empty() && !word.starts_with('.') && word.bytes().all(is_plain)
    };
    name.len() <= MAX_NAME && name.split('/').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_directory() {
        for name in ["a.js", "assets/app-AB12_c.js", "a/b/c.d.e"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(MAX_NAME + 1);
        for name in [
            "", ".", "..", "../a", "a/..", "a/../b", "/a", "a/", "a//b", "./a", ".hidden", "a/.b", "a b",
            "a\\b", "a\0", "a%2e", "ä", "a?b", &long,
        ] {
            assert!(!is_name(name), "{name:?}");
            let text = serde_json::json!({
                "version": "1", "files": { name: { "type": "text/plain", "etag": "" } }
            });
            let error = Manifest::parse(text.to_string().as_bytes()).unwrap_err();
            assert!(error.contains("is not a name of a file"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, words) in [
            ("", "EOF"),
            ("[1]", "expected a string"),
            (r#"{"files":{}}"#, "missing field `version`"),
            (r#"{"version":"1","files":{"a":{"etag":""}}}"#, "missing field `type`"),
            (
                r#"{"version":"1","pages":{"app":"a.html"},"files":{}}"#,
                "the page \"a.html\" is not among its files",
            ),
        ] {
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
