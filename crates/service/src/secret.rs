//! Secrets in files: read once, with a check that no other user can read the file, and never shown.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::credential::{self, Source};

/// A path with this prefix is in the unit's credentials directory, as in systemd.unit(5).
const CREDENTIALS_SPECIFIER: &str = "%d/";

/// systemd sets it for units with `LoadCredential=` and similar settings (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Permission bits of users other than the owner and the group.
const OTHERS: u32 = 0o007;

/// In bytes. Keys and tokens are far smaller. A wrong path (a log, a device) must not fill the memory.
const MAX_SECRET: u64 = 64 * 1024;

/// The contents of a secret file. `Debug` never shows it. There is no `==`, whose time would show how much of a guess is
/// right: compare [`TokenHash`](protocol::token::TokenHash)es.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret from a file, without one trailing newline. [`resolve_path`] resolves `%d/`.
    ///
    /// # Errors
    /// If the file cannot be read, is empty or not text, is larger than 64 KiB, or other users can read it. That is not
    /// checked for files in the credentials directory, which are systemd's.
    pub fn read(path: &str) -> Result<Secret, SecretError> {
        Secret::read_with(path, credentials_directory().as_deref())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    fn read_with(path: &str, credentials: Option<&Path>) -> Result<Secret, SecretError> {
        let path = resolve_with(path, credentials)?;
        let failed = |error| SecretError::io(&path, error);
        let mut file = File::open(&path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let is_credential = credentials.is_some_and(|dir| path.starts_with(dir));
        // The mode is that of the open file, so that the file that was checked is the one that is read.
        if meta.permissions().mode() & OTHERS != 0 && meta.is_file() && !is_credential {
            return Err(SecretError::Open(path, meta.permissions().mode() & 0o7777));
        }
        let mut text = String::new();
        file.by_ref().take(MAX_SECRET + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_SECRET {
            return Err(SecretError::TooLarge(path));
        }
        if text.starts_with('\u{feff}') {
            return Err(SecretError::ByteOrderMark(path));
        }
        let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let secret = line.unwrap_or(&text);
        if secret.is_empty() {
            return Err(SecretError::Empty(path));
        }
        Ok(Secret(secret.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Resolves the path of a file in the settings: `%d/` is `$CREDENTIALS_DIRECTORY`. Commands outside of the unit
/// (`check-config`, `test-dial`) do not have that variable, and use the unit's own source ([`credential::source`]).
///
/// # Errors
/// If the path needs a credential and there is none, or if it leads out of the directory.
pub fn resolve_path(path: &str) -> Result<PathBuf, SecretError> {
    resolve_with(path, credentials_directory().as_deref())
}

fn resolve_with(path: &str, credentials: Option<&Path>) -> Result<PathBuf, SecretError> {
    let Some(name) = path.strip_prefix(CREDENTIALS_SPECIFIER) else {
        return Ok(PathBuf::from(path));
    };
    let stays_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !stays_inside {
        return Err(SecretError::NotAName(path.into()));
    }
    if let Some(passed) = credentials.map(|dir| dir.join(name)).filter(|passed| passed.exists()) {
        return Ok(passed);
    }
    match credential::source(name) {
        Source::Plain(file) if matches!(file.try_exists(), Ok(true)) => Ok(file),
        // If we cannot look into the store, reading the file gives the error.
        Source::Plain(file) if credentials.is_none() && file.try_exists().is_err() => Ok(file),
        Source::Plain(file) => Err(SecretError::NoCredential { path: path.into(), stored: file }),
        Source::Encrypted(file) => {
            Err(SecretError::Encrypted { path: path.into(), name: name.to_owned(), file })
        }
    }
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Why a secret cannot be read, and how to fix it. It never has the secret. The cause is part of the text, and therefore
/// not a source.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read secret {}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    #[error("secret {} is not text in UTF-8", .0.display())]
    NotText(PathBuf),
    #[error("secret {} begins with a byte order mark: save it as UTF-8 without one", .0.display())]
    ByteOrderMark(PathBuf),
    #[error("secret {} is empty", .0.display())]
    Empty(PathBuf),
    #[error("secret {} is larger than {MAX_SECRET} bytes", .0.display())]
    TooLarge(PathBuf),
    /// Other users can read or write it. The number is its mode.
    #[error(
        "secret {path} is open to every user (mode {mode:04o}), correct that with: chmod 0600 {path}; if a service reads \
         it: chmod 0640 {path}, and chgrp it to that service",
        path = .0.display(),
        mode = .1
    )]
    Open(PathBuf, u32),
    /// Neither did systemd pass the credential, nor does the file exist that is its source.
    #[error(
        "{} is a credential, and there is none: put it into {}, or use a full path",
        .path.display(),
        .stored.display()
    )]
    NoCredential { path: PathBuf, stored: PathBuf },
    /// Only systemd can decrypt the file.
    #[error(
        "{} is an encrypted credential, which systemd decrypts for the service: to try this command with it, put before \
         it: systemd-run -Pqp LoadCredentialEncrypted={name}:{}",
        .path.display(),
        .file.display()
    )]
    Encrypted { path: PathBuf, name: String, file: PathBuf },
    #[error("{} does not name a file in the credentials directory", .0.display())]
    NotAName(PathBuf),
}

impl SecretError {
    fn io(path: &Path, error: io::Error) -> SecretError {
        match error.kind() {
            io::ErrorKind::InvalidData => SecretError::NotText(path.to_owned()),
            _ => SecretError::Io(path.to_owned(), error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(dir: &Path, name: &str, text: &[u8], mode: u32) -> String {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn one_trailing_newline_is_not_part_of_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        for (text, secret) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a b ", " a b ")]
        {
            let path = write(dir.path(), "s", text.as_bytes(), 0o600);
            assert_eq!(Secret::read(&path).unwrap().expose(), secret);
        }
    }

    #[test]
    fn debug_and_errors_never_show_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "s", b"hunter2", 0o600);
        assert_eq!(format!("{:?}", Secret::read(&path).unwrap()), "Secret(…)");
        let path = write(dir.path(), "b", b"hunter2\xff", 0o600);
        let err = Secret::read(&path).unwrap_err();
        assert!(!format!("{err} {err:?}").contains("hunter2"));
    }

    #[test]
    fn a_file_that_other_users_can_read_is_refused_with_the_command_that_fixes_it() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o604, 0o602] {
            let path = write(dir.path(), "s", b"a", mode);
            let err = Secret::read(&path).unwrap_err().to_string();
            assert!(
                err.contains(&format!("(mode {mode:04o}), correct that with: chmod 0600 {path}; ")),
                "{err}"
            );
        }
        let path = write(dir.path(), "s", b"a", 0o640);
        assert!(Secret::read(&path).is_ok());
    }

    #[test]
    fn empty_missing_and_endless_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "\n"] {
            let path = write(dir.path(), "s", text.as_bytes(), 0o600);
            assert!(Secret::read(&path).unwrap_err().to_string().ends_with(" is empty"));
        }
        assert!(Secret::read("/nonexistent/s").unwrap_err().to_string().contains("No such file"));
        assert!(Secret::read("/dev/zero").unwrap_err().to_string().contains("is larger than"));
    }

    #[test]
    fn credentials_are_found_by_name_and_only_by_name() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "key", b"a\n", 0o644);
        let read = |path: &str| Secret::read_with(path, Some(dir.path()));
        assert_eq!(read("%d/key").unwrap().expose(), "a");
        for path in ["%d/../key", "%d/", "%d//etc/passwd"] {
            let err = read(path).unwrap_err().to_string();
            assert!(err.ends_with("does not name a file in the credentials directory"), "{err}");
        }
        let err = Secret::read_with("%d/key", None).unwrap_err().to_string();
        assert!(
            err.starts_with("%d/key is a credential, and there is none: put it into /etc/credstore/"),
            "{err}"
        );
        assert_eq!(resolve_with("/etc/x", None).unwrap(), Path::new("/etc/x"));
    }
}
