//! The key under which the relay's cookies stand: a file of the state directory, and the one before it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ring::hmac::{self, HMAC_SHA256};
use tracing::{info, warn};

use protocol::token::Token;
use service::secret::Secret;

use super::state_file;

/// 43 characters, 256 bits.
const FILE: &str = "sign-in.key";

/// The key before it, so that a rotation signs nobody out.
const OLD: &str = "sign-in.key.old";

/// How old a key becomes before a start or a reload replaces it.
const ROTATED_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// The key that signs, and the one that is still good for a verification.
pub(super) struct SignInKeys {
    current: hmac::Key,
    old: Option<hmac::Key>,
}

impl SignInKeys {
    /// Reads the key of `dir`, makes it if there is none, and replaces it if it is old.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(super) fn open(dir: &Path, now: SystemTime) -> Result<SignInKeys, String> {
        let file = dir.join(FILE);
        match fs::metadata(&file) {
            Ok(metadata) => {
                let age = metadata.modified().ok().and_then(|at| now.duration_since(at).ok());
                if age.is_some_and(|age| age > ROTATED_AFTER) {
                    // A key that is too old is better than none.
                    match replace(dir) {
                        Ok(()) => info!("platform: {} was replaced: it was over 30 days old", file.display()),
                        Err(error) => warn!("platform: cannot replace {}: {error}", file.display()),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(dir)?,
            Err(error) => return Err(format!("cannot look at {}: {error}", file.display())),
        }
        let old = dir.join(OLD);
        let old = match old.exists().then(|| read(&old)).transpose() {
            Ok(old) => old,
            Err(why) => {
                warn!("platform: {why}: who signed in before the last rotation has to sign in again");
                None
            }
        };
        Ok(SignInKeys { current: read(&file)?, old })
    }

    pub(super) fn sign(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.current, message)
    }

    pub(super) fn is_signature(&self, message: &[u8], tag: &[u8]) -> bool {
        let keys = [Some(&self.current), self.old.as_ref()];
        keys.into_iter().flatten().any(|key| hmac::verify(key, message, tag).is_ok())
    }
}

fn new_key() -> io::Result<String> {
    Ok(Token::generate().map_err(io::Error::other)?.reveal() + "\n")
}

fn make(dir: &Path) -> Result<(), String> {
    let made = new_key().and_then(|key| state_file::write(dir, FILE, key.as_bytes()));
    made.map_err(|error| {
        let at = dir.display();
        let what_to_do = match error.kind() {
            io::ErrorKind::NotFound => format!("make it (install -d -m 700 {at}, owned by the relay's user)"),
            _ => format!("let the relay's user write to {at}"),
        };
        format!(
            "cannot make {}: {error}: {what_to_do}, or set platform.state_dir, then reload the relay",
            dir.join(FILE).display()
        )
    })
}

/// The current key becomes the old one. At no time is the new one there without the old one.
fn replace(dir: &Path) -> io::Result<()> {
    let new = state_file::prepare(dir, FILE, new_key()?.as_bytes())?;
    fs::rename(dir.join(FILE), dir.join(OLD))?;
    fs::rename(new, dir.join(FILE))?;
    fs::File::open(dir)?.sync_all()
}

fn read(file: &Path) -> Result<hmac::Key, String> {
    let path = file.to_str().ok_or("platform.state_dir is not UTF-8")?;
    let text = Secret::read(path).map_err(|error| error.to_string())?;
    let key: Token = text.expose().trim().parse().map_err(|_| {
        format!(
            "{} is not a key of 43 characters: remove it, and reload the relay to make a new one",
            file.display()
        )
    })?;
    Ok(hmac::Key::new(HMAC_SHA256, key.reveal().as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tag(keys: &SignInKeys) -> Vec<u8> {
        keys.sign(b"m").as_ref().to_vec()
    }

    #[test]
    fn a_key_is_made_once_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = SignInKeys::open(dir.path(), now).unwrap();
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = SignInKeys::open(dir.path(), now).unwrap();
        assert!(second.is_signature(b"m", &tag(&first)));
        assert!(!second.is_signature(b"n", &tag(&first)) && !second.is_signature(b"m", b""));
    }

    #[test]
    fn a_key_of_thirty_days_is_replaced_and_one_old_key_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = SignInKeys::open(dir.path(), now).unwrap();
        let second = SignInKeys::open(dir.path(), now + ROTATED_AFTER + Duration::from_secs(9)).unwrap();
        assert_ne!(tag(&first), tag(&second));
        assert!(second.is_signature(b"m", &tag(&first)), "nobody is signed out by it");
        let third = SignInKeys::open(dir.path(), now + 2 * ROTATED_AFTER).unwrap();
        assert!(!third.is_signature(b"m", &tag(&first)) && third.is_signature(b"m", &tag(&second)));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &Path| SignInKeys::open(path, SystemTime::now()).err().unwrap();
        assert!(open(&dir.path().join("none")).contains("install -d -m 700"));
        fs::write(dir.path().join(FILE), "short").unwrap();
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(open(dir.path()).contains("remove it"));
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(dir.path()).contains("chmod"));
    }
}
