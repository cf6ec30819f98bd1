//! The sessions that have begun, as a file for each. A session begins once, also across restarts and reboots.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How much longer than its grant a session is remembered: a clock that is set back makes grants valid again.
const MARGIN: Duration = Duration::from_secs(600);

/// How often forgotten sessions are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Its time of change is that of the last removal.
const SWEPT: &str = ".swept";

/// A folder with an empty file for each session, whose time of change is the end of its grant.
#[derive(Clone, Debug)]
pub(crate) struct Seen(PathBuf);

impl Seen {
    pub(crate) fn new(dir: &Path) -> Seen {
        Seen(dir.to_owned())
    }

    /// Remembers a session until this time; `false` if it is remembered already.
    pub(crate) fn remember(&self, session: &str, until: SystemTime) -> io::Result<bool> {
        // It names a file. Sessions are ULIDs or hexadecimal digits.
        if session.is_empty() || !session.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(io::Error::other("the session's id has other characters than letters and digits"));
        }
        std::fs::create_dir_all(&self.0)?;
        self.sweep();
        let path = self.0.join(session);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                file.set_modified(until)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what can be forgotten. Errors only make the folder larger.
    fn sweep(&self) {
        let now = SystemTime::now();
        let is_past = |path: &Path, by: Duration| {
            let changed = path.metadata().and_then(|metadata| metadata.modified());
            changed.ok().and_then(|changed| now.duration_since(changed).ok()).is_some_and(|since| since > by)
        };
        let swept = self.0.join(SWEPT);
        if swept.exists() && !is_past(&swept, SWEEP_EVERY) {
            return;
        }
        let _ = File::create(&swept).and_then(|file| file.set_modified(now));
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path()).filter(|path| *path != swept);
        for path in paths.filter(|path| is_past(path, MARGIN)) {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_remembered_once_and_until_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let past = now - MARGIN - Duration::from_secs(1);
        let remember = |session: &str, until| Seen::new(dir.path()).remember(session, until).unwrap();
        assert!(remember("a", now) && !remember("a", now));
        assert!(remember("b", past) && !remember("b", past));
        // The next removal is due.
        let swept = File::open(dir.path().join(SWEPT)).unwrap();
        swept.set_modified(now - 2 * SWEEP_EVERY).unwrap();
        assert!(remember("b", past) && !remember("a", now));
        for path in ["", "..", "a/b", ".swept"] {
            assert!(Seen::new(dir.path()).remember(path, now).is_err(), "{path}");
        }
    }
}
