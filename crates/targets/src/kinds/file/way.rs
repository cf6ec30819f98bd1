//! The path to a log: where it leads now, and which links on it may lead elsewhere later.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use super::location::Location;
use super::which::Picked;
use crate::support::access::{Need, explain};
use crate::support::opened::OpenError;

/// How many links are followed in one path, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A path as the owner allows it.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) picked: Picked,
    pub(super) follow_symlinks: bool,
}

/// A name that decides where a path leads: that of a link, or of a missing directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The directory with this name in it, as a path without links.
    pub(super) dir: PathBuf,
    pub(super) name: OsString,
}

impl Way {
    /// Resolves the path. The result has no links, or the file will not be opened.
    pub(super) fn location(&self) -> Result<Location, OpenError> {
        self.walk().1
    }

    /// Resolves the path, and finds what may change the result.
    pub(super) fn walk(&self) -> (Vec<Turn>, Result<Location, OpenError>) {
        let path = &self.picked.path;
        if !self.follow_symlinks {
            return (vec![], Location::new(path).map_err(|error| self.failed(&error)));
        }
        let mut turns = vec![];
        let real = follow(path, &mut turns).map_err(|error| self.failed(&error));
        let location = real.and_then(|real| {
            self.stays_inside(&real)?;
            Location::new(&real).map_err(|error| self.failed(&error))
        });
        (turns, location)
    }

    fn stays_inside(&self, real: &Path) -> Result<(), OpenError> {
        let Picked { path, base: Some(base) } = &self.picked else { return Ok(()) };
        let base = fs::canonicalize(base).map_err(|error| self.failed(&error))?;
        if real.starts_with(&base) {
            return Ok(());
        }
        let (path, base, real) = (path.display(), base.display(), real.display());
        Err(OpenError::failed(format!("{path} leads out of {base}, to {real}")))
    }

    pub(super) fn failed(&self, error: &io::Error) -> OpenError {
        match error.raw_os_error().map(Errno::from_raw) {
            // Only inotify returns these two here (inotify_init1(2), inotify_add_watch(2)).
            Some(Errno::EMFILE | Errno::ENOSPC) => OpenError::failed(format!(
                "{}: {error}: no more files can be watched, raise fs.inotify.max_user_instances and \
                 fs.inotify.max_user_watches (sysctl) or LimitNOFILE",
                self.picked.path.display()
            )),
            _ => explain(&self.picked.path, Need::Read, error),
        }
    }
}

/// The path without links. Its last part may be missing, as for a log that is not created yet.
fn follow(path: &Path, turns: &mut Vec<Turn>) -> io::Result<PathBuf> {
    let parts = |path: &Path| path.iter().rev().map(OsString::from).collect::<Vec<_>>();
    let mut todo = parts(path);
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = todo.pop() {
        match Path::new(&part).components().next() {
            Some(Component::Normal(_)) => {}
            Some(Component::RootDir) => {
                real = "/".into();
                continue;
            }
            Some(Component::ParentDir) => {
                real.pop();
                continue;
            }
            _ => continue,
        }
        let turn = Turn { dir: real.clone(), name: part.clone() };
        real.push(&part);
        match real.symlink_metadata() {
            Ok(state) if state.is_symlink() => {
                turns.push(turn);
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::ELOOP.into());
                }
                todo.extend(parts(&fs::read_link(&real)?));
                real.pop();
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link may be created there.
                turns.push(turn);
                return if todo.is_empty() { Ok(real) } else { Err(error) };
            }
            Err(error) => return Err(error),
        }
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_way_knows_its_links_and_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        let followed = |name: &str| {
            let mut turns = vec![];
            let real = follow(&path.join(name), &mut turns);
            let inside = |path: &Path, base: &Path| path.strip_prefix(base).unwrap().display().to_string();
            let turns: Vec<_> = turns.iter().map(|turn| inside(&turn.dir.join(&turn.name), &path)).collect();
            (real.map(|real| inside(&real, &path)).map_err(|error| error.kind()), turns.join(" "))
        };
        fs::create_dir_all(path.join("v1/sub")).unwrap();
        fs::write(path.join("v1/log"), "").unwrap();
        symlink("v1", path.join("current")).unwrap();
        symlink(path.join("current/log"), path.join("log")).unwrap();
        symlink("../log", path.join("v1/up")).unwrap();
        symlink("v2", path.join("next")).unwrap();
        symlink("loop", path.join("loop")).unwrap();
        assert_eq!(followed("v1/log"), (Ok("v1/log".into()), String::new()));
        assert_eq!(followed("log"), (Ok("v1/log".into()), "log current".into()));
        assert_eq!(followed("current/up"), (Ok("v1/log".into()), "current v1/up log current".into()));
        assert_eq!(followed("current/new"), (Ok("v1/new".into()), "current v1/new".into()));
        assert_eq!(followed("next/log"), (Err(io::ErrorKind::NotFound), "next v2".into()));
        assert!(followed("loop").0.is_err());
    }
}
