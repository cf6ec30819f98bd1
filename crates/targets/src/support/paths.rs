//! Opens and resolves paths so that symbolic links cannot lead elsewhere.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::Uid;

/// Opens the absolute `path` without following any symbolic link. Opens one part after the other, because openat2(2),
/// which does it in one call, is not available in units with `RestrictSUIDSGID=`.
pub(crate) fn open_unlinked(path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let entry = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut place = open("/", entry | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut parts = path.components().skip(1).peekable();
    while let Some(part) = parts.next() {
        let found = openat(&place, part.as_os_str(), entry, Mode::empty())?;
        match SFlag::from_bits_truncate(fstat(&found)?.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK => return Err(Errno::ELOOP.into()),
            SFlag::S_IFDIR if parts.peek().is_some() => {
                // Opens what an automounter mounts there, instead of its placeholder.
                place = openat(&found, ".", entry | OFlag::O_DIRECTORY, Mode::empty())?;
                continue;
            }
            SFlag::S_IFDIR => {}
            _ if flags.contains(OFlag::O_DIRECTORY) => return Err(Errno::ENOTDIR.into()),
            _ => {}
        }
        if parts.peek().is_none() && !flags.contains(OFlag::O_PATH) {
            // The entry may have become a link meanwhile, and is then refused, too.
            return Ok(openat(
                &place,
                part.as_os_str(),
                flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?);
        }
        place = found;
    }
    Ok(place)
}

/// How many links are followed in one path, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A path without links, with what it leads to and the directories on the way.
pub(crate) struct ResolvedPath {
    /// The file itself, held open so that nothing can replace it (`O_PATH`).
    pub(super) place: OwnedFd,
    /// The directories on the way, each with its state.
    pub(super) dirs: Vec<(PathBuf, FileStat)>,
    /// The path without links.
    path: PathBuf,
}

impl ResolvedPath {
    /// A path to the file itself, even if it was renamed since (proc_pid_fd(5)).
    pub(crate) fn by_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.place.as_raw_fd()).into()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Resolves the absolute `path`. Follows only those links that root or this user can have created, such as /var/run and
/// those in /dev/serial/by-id. Other users could point their links at anything that the agent may use and they may not.
pub(crate) fn resolve(path: &Path) -> io::Result<ResolvedPath> {
    let entry = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = || open("/", entry | OFlag::O_DIRECTORY, Mode::empty());
    let parts = |path: &Path| path.iter().rev().map(OsString::from).collect::<Vec<_>>();
    let mut todo = parts(path);
    let mut found = ResolvedPath { place: root()?, dirs: vec![], path: "/".into() };
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == "/" {
            (found.place, found.path) = (root()?, "/".into());
            continue;
        }
        let dir = fstat(&found.place)?;
        let next = openat(&found.place, part.as_os_str(), entry, Mode::empty())?;
        found.dirs.push((found.path.clone(), dir));
        let state = fstat(&next)?;
        match SFlag::from_bits_truncate(state.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK => {
                links += 1;
                if links > MAX_LINKS || !is_ours(&dir, 0o022) || !is_ours(&state, 0) {
                    return Err(Errno::ELOOP.into());
                }
                todo.extend(parts(Path::new(&readlinkat(&next, "")?)));
                continue;
            }
            // Not the directory that an automounter keeps a place for, but what it mounts there.
            SFlag::S_IFDIR if !todo.is_empty() => {
                found.place = openat(&next, ".", entry | OFlag::O_DIRECTORY, Mode::empty())?;
            }
            _ => found.place = next,
        }
        match part.to_str() {
            Some("..") => drop(found.path.pop()),
            _ => found.path.push(part),
        }
    }
    Ok(found)
}

/// Whether it belongs to root or to this user, and has none of the permissions `closed`.
fn is_ours(state: &FileStat, closed: u32) -> bool {
    (state.st_uid == 0 || state.st_uid == Uid::effective().as_raw()) && state.st_mode & closed == 0
}

/// Opens a file for reading, and never waits for a writer, a lock or a terminal.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    Ok(open_unlinked(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_links_that_root_or_this_user_made_are_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        fs::write(path.join("real"), "").unwrap();
        symlink("real", path.join("link")).unwrap();
        symlink("../..", path.join("up")).unwrap();
        let found = resolve(&path.join("link")).unwrap();
        assert_eq!(found.path(), path.join("real"));
        assert_eq!(fs::canonicalize(found.by_descriptor()).unwrap(), path.join("real"));
        assert_eq!(resolve(&path.join("up/up")).err().unwrap().kind(), io::ErrorKind::NotFound);
        // Everybody may turn links of this directory, but not replace its file by following one.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = resolve(&path.join("link")).err().unwrap();
        assert_eq!(refused.raw_os_error(), Some(Errno::ELOOP as i32));
        assert!(resolve(&path.join("real")).is_ok());
    }
}
