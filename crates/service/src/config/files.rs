//! Reads the files of a configuration, and finds its fragments.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::error::ConfigError;

/// Whether there is certainly no such file.
pub fn is_missing(file: &Path) -> bool {
    matches!(file.try_exists(), Ok(false)) && file.symlink_metadata().is_err()
}

/// # Errors
/// If the file cannot be read, or is not UTF-8.
pub(super) fn read_text(file: &Path) -> Result<String, ConfigError> {
    let failed = |why: &dyn std::fmt::Display| ConfigError::new(file, None, format!("cannot read: {why}"));
    let bytes = match fs::metadata(file) {
        Ok(meta) if meta.is_dir() => return Err(failed(&"it is a directory, and a file is needed")),
        Err(err) if err.kind() == io::ErrorKind::NotFound && file.is_symlink() => {
            return Err(failed(&"it is a link to a file that does not exist"));
        }
        _ => fs::read(file).map_err(|err| failed(&err))?,
    };
    String::from_utf8(bytes).map_err(|err| {
        let (at, bytes) = (err.utf8_error().valid_up_to(), err.as_bytes());
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = bytes[at];
        ConfigError::new(file, Some(line), format!("not UTF-8: byte 0x{byte:02x}; save the file as UTF-8"))
    })
}

/// The `*.toml` files of a directory in lexical order. None if there is no such directory.
///
/// # Errors
/// If the directory cannot be read, or has something else under such a name.
pub(super) fn fragments(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |err: io::Error| ConfigError::new(dir, None, format!("cannot read directory: {err}"));
    let entries = match fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut names: Vec<OsString> = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        // Editors and package managers leave dot files behind.
        if !name.as_encoded_bytes().starts_with(b".") && name.as_encoded_bytes().ends_with(b".toml") {
            names.push(name);
        }
    }
    names.sort();
    let files = names.into_iter().map(|name| dir.join(name));
    files
        .map(|file| match fs::metadata(&file) {
            // Reading a pipe would wait for its writer, and reading a device would not end.
            Ok(meta) if !meta.is_file() && !meta.is_dir() => {
                Err(ConfigError::new(&file, None, "cannot read: it is not a regular file".into()))
            }
            _ => Ok(file),
        })
        .collect()
}
