//! Opening what is on a file system, and saying what would help when that fails.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::{Gid, Group, Uid, User};

use super::OpenError;

/// Opens a path for reading without blocking. Unless `follow_symlinks`, no part of the path may be a
/// symbolic link: whoever may write to a log's folder must not be able to point us elsewhere.
pub fn open(path: &Path, follow_symlinks: bool) -> Result<File, OpenError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = if follow_symlinks { ResolveFlag::empty() } else { ResolveFlag::RESOLVE_NO_SYMLINKS };
    let how = OpenHow::new().flags(flags).resolve(resolve);
    match openat2(AT_FDCWD, path, how) {
        Ok(file) => Ok(File::from(file)),
        Err(nix::Error::ELOOP) if !follow_symlinks => Err(OpenError::failed(format!(
            "{} leads through a symbolic link: write the real path, or set follow_symlinks = true",
            path.display()
        ))),
        Err(error) => Err(failed(path, &error.into())),
    }
}

/// What failed on a path, with the line that mends it where there is one.
pub fn failed(path: &Path, error: &io::Error) -> OpenError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => hint(path),
        io::ErrorKind::ConnectionRefused => Some("nobody listens there: is it running?".into()),
        _ => None,
    };
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    OpenError::failed(format!("{}: {error}{hint}", path.display()))
}

/// The nearest thing on the path that we may look at says who may open it.
fn hint(path: &Path) -> Option<String> {
    let (seen, meta) = path.ancestors().find_map(|part| Some((part, std::fs::metadata(part).ok()?)))?;
    let user = User::from_uid(Uid::from_raw(meta.uid())).ok()??.name;
    let group = Group::from_gid(Gid::from_raw(meta.gid())).ok()??.name;
    let mode = meta.mode() & 0o777;
    Some(format!(
        "{} belongs to {user}:{group}, mode {mode:04o}; a drop-in with SupplementaryGroups={group} may help",
        seen.display()
    ))
}
