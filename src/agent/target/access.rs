//! Opening a path so that symbolic links cannot lead elsewhere, and saying what would mend a failure.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access};

use super::opened::OpenError;

/// Opens the absolute `path` without following any symbolic link. One part after the other: openat2(2) does it at once,
/// but is closed to units with `RestrictSUIDSGID=`.
pub(super) fn open_unlinked(path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let entry = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut place = open("/", entry | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut parts = path.components().skip(1).peekable();
    while let Some(part) = parts.next() {
        let found = openat(&place, part.as_os_str(), entry, Mode::empty())?;
        match SFlag::from_bits_truncate(fstat(&found)?.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK => return Err(Errno::ELOOP.into()),
            SFlag::S_IFDIR if parts.peek().is_some() => {
                // Not the directory that an automounter keeps a place for, but what it mounts there.
                place = openat(&found, ".", entry | OFlag::O_DIRECTORY, Mode::empty())?;
                continue;
            }
            SFlag::S_IFDIR => {}
            _ if flags.contains(OFlag::O_DIRECTORY) => return Err(Errno::ENOTDIR.into()),
            _ => {}
        }
        if parts.peek().is_none() && !flags.contains(OFlag::O_PATH) {
            // What was looked at may have become a link meanwhile, and is refused then as well.
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

/// Links that are followed on one way at most, as the kernel does (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What a path leads to, with the directories on the way.
pub(super) struct Found {
    /// The place itself, held so that nobody can put something else there (`O_PATH`).
    place: OwnedFd,
    /// The directories that have to be entered.
    dirs: Vec<(PathBuf, FileStat)>,
    /// Its path without links.
    path: PathBuf,
}

impl Found {
    /// A path that means the very thing that was found, whatever its names are by now (proc_pid_fd(5)).
    pub(super) fn by_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.place.as_raw_fd()).into()
    }

    /// The path without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Walks the absolute `path` like [`open_unlinked`], but follows those links that only root or this very user can have
/// made, such as /var/run and those in /dev/serial/by-id. Others' links could be turned to anything that the agent
/// may use and they may not.
pub(super) fn find(path: &Path) -> io::Result<Found> {
    let entry = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = || open("/", entry | OFlag::O_DIRECTORY, Mode::empty());
    let parts = |path: &Path| path.iter().rev().map(OsString::from).collect::<Vec<_>>();
    let mut todo = parts(path);
    let mut found = Found { place: root()?, dirs: vec![], path: "/".into() };
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

/// Whether it belongs to root or to this user, and has none of these bits for others.
fn is_ours(state: &FileStat, closed: u32) -> bool {
    (state.st_uid == 0 || state.st_uid == Uid::effective().as_raw()) && state.st_mode & closed == 0
}

/// Opens for reading; never waits for a writer, a lock or a terminal.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    Ok(open_unlinked(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?.into())
}

/// What the caller wanted to do when it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    ReadWrite,
    Connect,
    Run,
}

/// What a directory's group needs on it.
const ENTER: u32 = 0o010;

impl Need {
    /// The bits for a file's group that allow it.
    fn bits(self) -> u32 {
        match self {
            Need::Read => 0o040,
            Need::ReadWrite => 0o060,
            Need::Connect => 0o020,
            Need::Run => 0o010,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Need::Read => "read",
            Need::ReadWrite => "read and write",
            Need::Connect => "write to",
            Need::Run => "run",
        }
    }
}

/// Why `path` could not be used, with what would mend it. Asks the file system and the user database.
pub(super) fn explain(path: &Path, need: Need, error: &io::Error) -> OpenError {
    let shown = path.display();
    OpenError::failed(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => permission_denied(path, need),
        Some(Errno::ENOENT) => format!("{shown} does not exist"),
        Some(Errno::ELOOP) => symbolic_link(path, need),
        Some(Errno::ECONNREFUSED) => format!("connection refused on {shown}: nothing listens there"),
        _ => format!("{shown}: {error}"),
    })
}

/// The groups that open `path` to a service user, none where everybody may.
///
/// # Errors
/// In words, when no group does.
pub(super) fn allowing_groups(path: &Path, need: Need) -> Result<BTreeSet<String>, String> {
    let found = find(path).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => symbolic_link(path, need),
        Some(Errno::ENOENT | Errno::ENOTDIR) => {
            format!("{} is not there yet: ask again when it is", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    let mut groups = BTreeSet::new();
    let dirs = found.dirs.iter().map(|(dir, state)| (dir.as_path(), state, ENTER));
    let place = fstat(&found.place).map_err(|error| format!("{}: {error}", path.display()))?;
    for (place, state, bits) in dirs.chain([(found.path(), &place, need.bits())]) {
        let Owner { user, group, mode, .. } = &Owner::of(state.st_uid, state.st_gid, state.st_mode);
        match () {
            () if mode & (bits >> 3) == bits >> 3 => {}
            // root's own group opens too much.
            () if mode & bits == bits && state.st_gid != 0 => {
                groups.insert(group.clone());
            }
            () => {
                return Err(format!(
                    "{} belongs to {user}:{group} with mode {mode:04o}, and is closed to its group or that is root: \
                     give it a group and the mode for it",
                    place.display()
                ));
            }
        }
    }
    Ok(groups)
}

/// `path` is there, but is something else than the owner's `kind` says.
pub(super) fn wrong_type(path: &Path, wanted: &str, metadata: &Metadata) -> OpenError {
    let kind = metadata.file_type();
    let found = match () {
        () if kind.is_file() => "a regular file",
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a fifo",
        () if kind.is_socket() => "a socket",
        () if kind.is_symlink() => "a symbolic link",
        () => "a device",
    };
    OpenError::failed(format!("{} is {found}, not {wanted}", path.display()))
}

fn symbolic_link(path: &Path, need: Need) -> String {
    let shown = path.display();
    let Ok(real) = fs::canonicalize(path) else {
        return format!("{shown} leads through a symbolic link that ends nowhere");
    };
    let real = real.display();
    match need {
        Need::Read => format!(
            "{shown} leads through a symbolic link: name {real} instead, or set follow_symlinks = true"
        ),
        _ => format!(
            "{shown} leads through a symbolic link that others than root can turn: name {real} instead"
        ),
    }
}

fn permission_denied(path: &Path, need: Need) -> String {
    let shown = path.display();
    let closed = path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev().find(|dir| {
        // A directory that is not there is no answer to "who may enter it".
        dir.exists() && access(*dir, AccessFlags::X_OK).is_err()
    });
    let (what, bits, place) = match closed {
        Some(dir) => ("enter", ENTER, dir),
        None => (need.verb(), need.bits(), path),
    };
    match fs::metadata(place) {
        Ok(metadata) => {
            format!(
                "permission denied on {shown}: {}",
                remedy(place, what, bits, &Owner::of(metadata.uid(), metadata.gid(), metadata.mode()))
            )
        }
        Err(_) => format!("permission denied on {shown}"),
    }
}

/// What groups look like that a user namespace, such as that of `PrivateUsers=`, does not have.
const OVERFLOW: u32 = 65534;

struct Owner {
    user: String,
    group: String,
    mode: u32,
    /// Whether the group is another one in truth (user_namespaces(7)).
    is_hidden: bool,
}

impl Owner {
    fn of(uid: u32, gid: u32, mode: u32) -> Owner {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
        Owner {
            user: user.map_or(uid.to_string(), |user| user.name),
            group: group.map_or(gid.to_string(), |group| group.name),
            mode: mode & 0o7777,
            is_hidden: gid == OVERFLOW,
        }
    }
}

fn remedy(place: &Path, what: &str, bits: u32, owner: &Owner) -> String {
    let Owner { user, group, mode, .. } = owner;
    let place = place.display();
    let belongs = format!("{place} belongs to {user}:{group} with mode {mode:04o}");
    match () {
        () if mode & bits == bits && owner.is_hidden => format!(
            "{place} belongs to a group that this sandbox does not show: `stream-agent targets --systemd-dropin` \
             names it"
        ),
        () if mode & bits == bits => format!(
            "{belongs}; add the service user to group {group} (a drop-in with SupplementaryGroups={group})"
        ),
        () if mode & (bits >> 3) == bits >> 3 => {
            format!(
                "{belongs}, which allows it: a security module or a mount may forbid it (see the kernel's log)"
            )
        }
        () => format!("{belongs}, so not even its group may {what} it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_group_that_would_help() {
        let owner = |mode| Owner { user: "libvirt-qemu".into(), group: "kvm".into(), mode, is_hidden: false };
        let path = Path::new("/run/vm.sock");
        assert_eq!(
            remedy(path, "write to", 0o020, &owner(0o660)),
            "/run/vm.sock belongs to libvirt-qemu:kvm with mode 0660; add the service user to group kvm \
             (a drop-in with SupplementaryGroups=kvm)"
        );
        assert!(
            remedy(path, "write to", 0o020, &owner(0o600)).ends_with("not even its group may write to it")
        );
        assert!(remedy(path, "write to", 0o020, &owner(0o602)).contains("security module"));
        let hidden = Owner { is_hidden: true, ..owner(0o660) };
        assert!(
            remedy(path, "write to", 0o020, &hidden)
                .ends_with("`stream-agent targets --systemd-dropin` names it")
        );
    }

    #[test]
    fn only_links_that_root_or_this_user_made_are_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        fs::write(path.join("real"), "").unwrap();
        symlink("real", path.join("link")).unwrap();
        symlink("../..", path.join("up")).unwrap();
        let found = find(&path.join("link")).unwrap();
        assert_eq!(found.path(), path.join("real"));
        assert_eq!(fs::canonicalize(found.by_descriptor()).unwrap(), path.join("real"));
        assert_eq!(find(&path.join("up/up")).err().unwrap().kind(), io::ErrorKind::NotFound);
        // Everybody may turn links of this directory, but not replace its file by following one.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = find(&path.join("link")).err().unwrap();
        assert_eq!(refused.raw_os_error(), Some(Errno::ELOOP as i32));
        assert!(find(&path.join("real")).is_ok());
        assert!(symbolic_link(&path.join("link"), Need::Connect).ends_with("/real instead"));
    }

    #[test]
    fn a_missing_path_is_said_in_words() {
        let error = explain(Path::new("/nowhere/x"), Need::Read, &Errno::ENOENT.into());
        assert_eq!(error.message, "/nowhere/x does not exist");
    }
}
