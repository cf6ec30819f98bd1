//! Settings of this program's unit, for commands that root runs outside of it.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::anyhow;
use nix::unistd::{Uid, User};

use super::config::Loaded;
use super::exit::{Exit, ExitError, OrExit};
use super::name::program;

/// The text of the unit and its drop-ins. `None` if systemd has no such unit.
pub fn text() -> Option<String> {
    let unit = format!("{}.service", program());
    let shown = Command::new("systemctl").args(["cat", &unit]).stdin(Stdio::null()).output().ok()?;
    shown.status.success().then(|| String::from_utf8_lossy(&shown.stdout).into_owned())
}

/// Whether the unit runs with this configuration.
pub fn runs_with(file: &Path) -> bool {
    file == Path::new("/etc").join(program()).join("config.toml")
}

/// Whether the program with this configuration runs as root: as the unit's user if it is the unit's configuration, else
/// as ours.
pub fn runs_as_root(file: &Path) -> bool {
    let unit = runs_with(file).then(text).flatten();
    let is_root = |unit: String| matches!(user_in(&unit), None | Some("" | "0" | "root"));
    Uid::effective().is_root() && unit.is_none_or(is_root)
}

/// The user of a unit. The last setting counts.
fn user_in(unit: &str) -> Option<&str> {
    unit.lines().filter_map(|line| line.trim().strip_prefix("User=")).next_back().map(str::trim)
}

/// A file that root can read, and the service cannot.
#[derive(Debug)]
pub struct Unreadable {
    file: PathBuf,
    group: String,
}

impl Unreadable {
    /// The command that fixes it.
    pub fn remedy(&self) -> String {
        format!("chgrp {0} {1} && chmod g+r {1}", self.group, self.file.display())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its user cannot read {}", self.file.display())
    }
}

/// The files of the configuration, and those that it names, that the unit's user cannot read. None if it is not the
/// unit's configuration, or if we are not root: then reading them has already failed.
pub fn unreadable(file: &Path, loaded: &Loaded) -> Vec<Unreadable> {
    if !Uid::effective().is_root() || !runs_with(file) {
        return vec![];
    }
    let text = text().unwrap_or_default();
    let Some(user) = user_in(&text).and_then(|name| User::from_name(name).ok().flatten()) else {
        return vec![];
    };
    let may_read = |file: &PathBuf| {
        let may = |meta: Metadata| may_read(&meta, user.uid.as_raw(), user.gid.as_raw());
        user.uid.is_root() || file.metadata().map_or(true, may)
    };
    let closed = files(file, loaded).into_iter().filter(|file| !may_read(file));
    closed.map(|file| Unreadable { file, group: user.name.clone() }).collect()
}

/// Refuses a configuration that the service cannot read, because a reload of it would fail later.
///
/// # Errors
/// The first file, and the command that fixes it.
pub fn check(file: &Path, loaded: &Loaded) -> Result<(), ExitError> {
    match unreadable(file, loaded).first() {
        None => Ok(()),
        Some(closed) => Err(anyhow!("{closed}: {}", closed.remedy())).or_exit(Exit::NoPerm),
    }
}

/// The files of the configuration, the public keys, and all other files that it names except credentials, which systemd
/// reads.
fn files(file: &Path, loaded: &Loaded) -> Vec<PathBuf> {
    let dir = loaded.texts("issuers_dir").pop().map_or(file.with_file_name("issuers.d"), PathBuf::from);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let keys = entries.filter(|path| path.extension().is_some_and(|end| end == "pub"));
    let named = loaded.texts("_file").into_iter().map(PathBuf::from).filter(|path| path.is_absolute());
    loaded.files().iter().cloned().chain(keys).chain(named).collect()
}

/// Only by the mode, without access control lists.
fn may_read(meta: &Metadata, user: u32, group: u32) -> bool {
    let shift = match (meta.uid() == user, meta.gid() == group) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    meta.mode() >> shift & 0o4 != 0
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_read_by_its_owner_its_group_or_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        File::create(&path).unwrap();
        let may = |mode: u32, is_owner: bool, is_group: bool| {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let meta = path.metadata().unwrap();
            may_read(&meta, meta.uid() + u32::from(!is_owner), meta.gid() + u32::from(!is_group))
        };
        assert!(may(0o640, false, true) && may(0o600, true, true) && may(0o644, false, false));
        assert!(!may(0o640, false, false) && !may(0o600, false, true) && !may(0o044, true, true));
    }
}
