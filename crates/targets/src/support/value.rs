//! Checks values that an owner wrote. Every error names its key.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What is wrong with a target's table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{message}", .key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
pub struct TargetConfigError {
    /// The key in the target's table, so that callers can find its file and line; `None` if a key is missing, or if the
    /// target as a whole is wrong.
    pub key: Option<String>,
    /// What is wrong and what is right, without the target's name.
    pub message: String,
}

impl TargetConfigError {
    /// The value of `key` is wrong.
    pub(crate) fn at(key: impl Into<String>, message: impl Into<String>) -> TargetConfigError {
        TargetConfigError { key: Some(key.into()), message: message.into() }
    }

    /// The target as a whole is wrong.
    pub(crate) fn whole(message: impl Into<String>) -> TargetConfigError {
        TargetConfigError { key: None, message: message.into() }
    }
}

/// Checks that the path is absolute, because the agent's working directory is arbitrary.
pub(crate) fn absolute(key: &str, path: PathBuf) -> Result<PathBuf, TargetConfigError> {
    if !path.is_absolute() {
        let message = format!("\"{}\" is not an absolute path: begin it with /", path.display());
        return Err(TargetConfigError::at(key, message));
    }
    without_nul(key, path.as_os_str().as_encoded_bytes())?;
    Ok(path)
}

/// Checks that the path is absolute and names a file.
pub(crate) fn absolute_file(key: &str, path: PathBuf) -> Result<PathBuf, TargetConfigError> {
    let path = absolute(key, path)?;
    if path.file_name().is_none() || ends_with_slash(&path) {
        let message = format!("\"{}\" does not name a file", path.display());
        return Err(TargetConfigError::at(key, message));
    }
    Ok(path)
}

/// Refuses a NUL, which ends C strings.
pub(crate) fn without_nul(key: &str, text: &[u8]) -> Result<(), TargetConfigError> {
    match text.contains(&0) {
        true => Err(TargetConfigError::at(key, "has a NUL character in it")),
        false => Ok(()),
    }
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}
