//! Secrets are files: read once, checked for who else could read them, never shown.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::credential::{self, Source};

/// A path that begins with this lies in the unit's credentials directory, as in systemd.unit(5).
const CREDENTIALS_SPECIFIER: &str = "%d/";

/// Set by systemd for a unit with `LoadCredential=` or its kin (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Permission bits of everybody outside owner and group.
const OTHERS: u32 = 0o007;

/// Bytes. Keys and tokens are far smaller; a wrong path (a log, a device) must not fill the memory.
const MAX_SECRET: u64 = 64 * 1024;

/// The contents of a secret file. `Debug` never shows it; there is no `==`, which would tell by its
/// time how much of a guess was right: compare [`TokenHash`](crate::protocol::token::TokenHash)es.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret from a file, without its one trailing newline.
    ///
    /// A path that begins with `%d/` is taken as in [`resolve_path`].
    ///
    /// # Errors
    /// When the file cannot be read, is empty or not text, is larger than 64 KiB, or may be read
    /// by everybody. Files below the credentials directory are systemd's and not checked for that.
    pub fn read(path: &str) -> Result<Secret, SecretError> {
        Secret::read_with(path, credentials_directory().as_deref())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn read_with(path: &str, credentials: Option<&Path>) -> Result<Secret, SecretError> {
        let path = resolve_with(path, credentials)?;
        let failed = |trouble| SecretError { path: path.clone(), trouble };
        let mut file = File::open(&path).map_err(|err| failed(Trouble::Io(err)))?;
        let meta = file.metadata().map_err(|err| failed(Trouble::Io(err)))?;
        let is_credential = credentials.is_some_and(|dir| path.starts_with(dir));
        // Asked of the open file, so that what was checked is what is read.
        if meta.permissions().mode() & OTHERS != 0 && meta.is_file() && !is_credential {
            return Err(failed(Trouble::Open(meta.permissions().mode() & 0o7777)));
        }
        let mut text = String::new();
        file.by_ref()
            .take(MAX_SECRET + 1)
            .read_to_string(&mut text)
            .map_err(|err| failed(Trouble::Io(err)))?;
        if text.len() as u64 > MAX_SECRET {
            return Err(failed(Trouble::TooLarge));
        }
        let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let secret = line.unwrap_or(&text);
        if secret.is_empty() {
            return Err(failed(Trouble::Empty));
        }
        Ok(Secret(secret.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The path of a file named in the settings: `%d/` means `$CREDENTIALS_DIRECTORY`. Commands that a person gives
/// outside of the unit (`check-config`, `test-dial`) have none, and find it where the unit takes it from
/// ([`credential::source`]).
///
/// # Errors
/// When the path needs a credential and there is none, or leads out of their directory.
pub fn resolve_path(path: &str) -> Result<PathBuf, SecretError> {
    resolve_with(path, credentials_directory().as_deref())
}

fn resolve_with(path: &str, credentials: Option<&Path>) -> Result<PathBuf, SecretError> {
    let Some(name) = path.strip_prefix(CREDENTIALS_SPECIFIER) else {
        return Ok(PathBuf::from(path));
    };
    let failed = |trouble| SecretError { path: PathBuf::from(path), trouble };
    let stays_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !stays_inside {
        return Err(failed(Trouble::NotAName));
    }
    if let Some(handed) = credentials.map(|dir| dir.join(name)).filter(|handed| handed.exists()) {
        return Ok(handed);
    }
    match credential::source(name) {
        Source::Plain(file) if matches!(file.try_exists(), Ok(true)) => Ok(file),
        // Who may not look into the store hears that when it is read.
        Source::Plain(file) if credentials.is_none() && file.try_exists().is_err() => Ok(file),
        Source::Plain(file) => Err(failed(Trouble::NoCredential(file))),
        Source::Encrypted(file) => Err(failed(Trouble::Encrypted(name.to_owned(), file))),
    }
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Why a secret could not be had, and what mends it. Never holds the secret.
#[derive(Debug)]
pub struct SecretError {
    path: PathBuf,
    trouble: Trouble,
}

#[derive(Debug)]
enum Trouble {
    Io(io::Error),
    Empty,
    TooLarge,
    /// Readable or writable by everybody; the mode bits.
    Open(u32),
    /// Neither systemd has handed one over nor is there this file.
    NoCredential(PathBuf),
    /// Only systemd can decrypt it: its name and file.
    Encrypted(String, PathBuf),
    NotAName,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.trouble {
            Trouble::Io(err) => write!(f, "cannot read secret {path}: {err}"),
            Trouble::Empty => write!(f, "secret {path} is empty"),
            Trouble::TooLarge => write!(f, "secret {path} is larger than {MAX_SECRET} bytes"),
            Trouble::Open(mode) => {
                write!(
                    f,
                    "secret {path} is open to every user (mode {mode:04o}), mend it with: chmod 0640 {path}, and chgrp it to the service that reads it"
                )
            }
            Trouble::NoCredential(stored) => write!(
                f,
                "{path} is a credential, and there is none: put it into {}, or use a full path",
                stored.display()
            ),
            Trouble::Encrypted(name, file) => write!(
                f,
                "{path} is an encrypted credential, which systemd decrypts for the service: to try this command with it, put \
                 before it: systemd-run -Pqp LoadCredentialEncrypted={name}:{}",
                file.display()
            ),
            Trouble::NotAName => write!(f, "{path} does not name a file in the credentials directory"),
        }
    }
}

// The cause is part of the text, so it is no source of its own: it would be said twice.
impl std::error::Error for SecretError {}

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
    fn what_everybody_may_read_is_refused_with_the_line_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o644, 0o604, 0o602] {
            let path = write(dir.path(), "s", b"a", mode);
            let err = Secret::read(&path).unwrap_err().to_string();
            assert!(err.ends_with(&format!("(mode {mode:04o}), mend it with: chmod 0640 {path}, and chgrp it to the service that reads it")), "{err}");
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
