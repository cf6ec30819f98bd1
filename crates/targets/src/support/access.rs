//! The access that targets need to paths: explains why it fails, and finds the groups that give it.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access};

use super::paths::resolve;
use crate::support::opened::OpenError;

/// The access that a target needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Read,
    ReadWrite,
    Connect,
    Run,
}

/// The permission that a directory's group needs.
const ENTER: u32 = 0o010;

impl Need {
    /// The permission bits that a file's group needs.
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

/// Explains why `path` could not be used and how to fix it. Reads the file system and the user database.
pub(crate) fn explain(path: &Path, need: Need, error: &io::Error) -> OpenError {
    let shown = path.display();
    OpenError::failed(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => permission_denied(path, need),
        Some(Errno::ENOENT) => format!("{shown} does not exist"),
        Some(Errno::ELOOP) => symbolic_link(path, need),
        Some(Errno::ECONNREFUSED) => format!("connection refused on {shown}: nothing listens there"),
        _ => format!("{shown}: {error}"),
    })
}

/// The groups that give a service user access to `path`; empty if everybody has access.
///
/// # Errors
/// In words, when no group does.
pub(crate) fn allowing_groups(path: &Path, need: Need) -> Result<BTreeSet<String>, String> {
    let found = resolve(path).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
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
        let Owner { user, group, mode, .. } = &Owner::look_up(state.st_uid, state.st_gid, state.st_mode);
        match () {
            () if mode & (bits >> 3) == bits >> 3 => {}
            // root's group would give access to too much.
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

/// An error for a `path` that is something else than its kind of target needs.
pub(crate) fn wrong_type(path: &Path, wanted: &str, metadata: &Metadata) -> OpenError {
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
        // A missing directory has no permissions to report.
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
                remedy(place, what, bits, &Owner::look_up(metadata.uid(), metadata.gid(), metadata.mode()))
            )
        }
        Err(_) => format!("permission denied on {shown}"),
    }
}

/// The ID of groups that a user namespace, such as that of `PrivateUsers=`, does not contain.
const OVERFLOW: u32 = 65534;

struct Owner {
    user: String,
    group: String,
    mode: u32,
    /// Whether this is not the real group (user_namespaces(7)).
    is_hidden: bool,
}

impl Owner {
    fn look_up(uid: u32, gid: u32, mode: u32) -> Owner {
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
    fn a_link_that_is_not_followed_is_explained_by_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        fs::write(path.join("real"), "").unwrap();
        std::os::unix::fs::symlink("real", path.join("link")).unwrap();
        assert!(symbolic_link(&path.join("link"), Need::Connect).ends_with("/real instead"));
    }

    #[test]
    fn a_missing_path_is_said_in_words() {
        let error = explain(Path::new("/nowhere/x"), Need::Read, &Errno::ENOENT.into());
        assert_eq!(error.message, "/nowhere/x does not exist");
    }
}
