//! Settings of this program's unit, for commands that root runs outside of it.

use std::ffi::CString;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::anyhow;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use super::config::Loaded;
use super::exit::{Exit, ExitError, OrExit};
use super::name::program;

/// The text of the unit and its drop-ins. `None` if systemd has no such unit.
pub fn text() -> Option<String> {
    let unit = format!("{}.service", program());
    let shown = Command::new("systemctl").args(["cat", &unit]).stdin(Stdio::null()).output().ok()?;
    shown.status.success().then(|| String::from_utf8_lossy(&shown.stdout).into_owned())
}

/// Whether the unit runs.
pub fn is_active() -> bool {
    let unit = format!("{}.service", program());
    let asked = Command::new("systemctl").args(["--quiet", "is-active", &unit]).stdin(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Whether the unit runs with this configuration.
pub fn runs_with(file: &Path) -> bool {
    file == Path::new("/etc").join(program()).join("config.toml")
}

/// Whether the program with this configuration runs as root: as the unit's user if it is the unit's configuration, else
/// as ours.
pub fn runs_as_root(file: &Path) -> bool {
    let unit = runs_with(file).then(text).flatten();
    let is_root = |unit: String| matches!(setting(&unit, "User"), None | Some("" | "0" | "root"));
    Uid::effective().is_root() && unit.is_none_or(is_root)
}

/// The value of a setting in a unit's text. The last one counts.
pub fn setting<'a>(unit: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.trim().strip_prefix(key)?.strip_prefix('=');
    unit.lines().filter_map(value).next_back().map(str::trim)
}

/// A file that root can read, and a service cannot.
#[derive(Debug)]
pub struct Unreadable {
    file: PathBuf,
    user: String,
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
        write!(f, "its user {} cannot read {}", self.user, self.file.display())
    }
}

/// The files of the configuration, and those that it names, that the unit's user cannot read. None if it is not the
/// unit's configuration, or if we are not root: then reading them has already failed.
pub fn unreadable(file: &Path, loaded: &Loaded) -> Vec<Unreadable> {
    if !Uid::effective().is_root() || !runs_with(file) {
        return vec![];
    }
    let text = text().unwrap_or_default();
    match setting(&text, "User") {
        Some(user) => unreadable_with(user, user, &list(&text, "SupplementaryGroups"), files(file, loaded)),
        None => vec![],
    }
}

/// The words of a setting that may occur several times. An empty value clears those before it.
fn list<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let mut words = vec![];
    for line in unit.lines() {
        match line.trim().strip_prefix(key).and_then(|rest| rest.strip_prefix('=')).map(str::trim) {
            None => {}
            Some("") => words.clear(),
            Some(value) => words.extend(value.split_whitespace()),
        }
    }
    words
}

/// Those of these files that a user cannot read; `group` is the one that they should have.
pub fn unreadable_by(user: &str, group: &str, files: Vec<PathBuf>) -> Vec<Unreadable> {
    unreadable_with(user, group, &[], files)
}

/// The same for a user who has more groups than in the user database.
fn unreadable_with(user: &str, group: &str, more: &[&str], files: Vec<PathBuf>) -> Vec<Unreadable> {
    let Ok(Some(found)) = User::from_name(user) else { return vec![] };
    let groups = CString::new(user).ok().and_then(|name| getgrouplist(&name, found.gid).ok());
    let mut groups = groups.unwrap_or_else(|| vec![found.gid]);
    groups
        .extend(more.iter().filter_map(|name| Group::from_name(name).ok().flatten()).map(|group| group.gid));
    let may = |file: &PathBuf| file.metadata().map_or(true, |meta| may_read(&meta, found.uid, &groups));
    let closed = files.into_iter().filter(|file| !found.uid.is_root() && !may(file));
    closed.map(|file| Unreadable { file, user: user.to_owned(), group: group.to_owned() }).collect()
}

/// The groups of a user besides the one with the user's name.
pub fn other_groups(user: &str) -> Vec<String> {
    let Ok(Some(found)) = User::from_name(user) else { return vec![] };
    let groups = CString::new(user).ok().and_then(|name| getgrouplist(&name, found.gid).ok());
    let names = groups.into_iter().flatten().filter_map(|gid| Group::from_gid(gid).ok().flatten());
    names.map(|group| group.name).filter(|name| name != user).collect()
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
pub fn files(file: &Path, loaded: &Loaded) -> Vec<PathBuf> {
    let named = loaded.texts("_file").into_iter().map(PathBuf::from).filter(|path| path.is_absolute());
    public_files(file, loaded).into_iter().chain(named).collect()
}

/// The files of the configuration and the public keys.
pub fn public_files(file: &Path, loaded: &Loaded) -> Vec<PathBuf> {
    let dir = loaded.texts("issuers_dir").pop().map_or(file.with_file_name("issuers.d"), PathBuf::from);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let keys = entries.filter(|path| path.extension().is_some_and(|end| end == "pub"));
    loaded.files().iter().cloned().chain(keys).collect()
}

/// Only by the mode, without access control lists.
fn may_read(meta: &Metadata, user: Uid, groups: &[Gid]) -> bool {
    let is_member = groups.contains(&Gid::from_raw(meta.gid()));
    let shift = match (meta.uid() == user.as_raw(), is_member) {
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
    fn the_last_setting_counts() {
        let unit = "ExecStart=/usr/bin/a run --opener x\n[Service]\nExecStart=\n ExecStart=/usr/bin/a run\n";
        assert_eq!(setting(unit, "ExecStart"), Some("/usr/bin/a run"));
        assert_eq!(setting(unit, "User"), None);
        assert_eq!(list("A=a b\nA=c\nAB=d", "A"), ["a", "b", "c"]);
        assert_eq!(list("A=a b\nA=\nA=c", "A"), ["c"]);
    }

    #[test]
    fn a_file_is_read_by_its_owner_its_group_or_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        File::create(&path).unwrap();
        let may = |mode: u32, is_owner: bool, is_group: bool| {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let meta = path.metadata().unwrap();
            let user = Uid::from_raw(meta.uid() + u32::from(!is_owner));
            may_read(&meta, user, &[Gid::from_raw(7), Gid::from_raw(meta.gid() + u32::from(!is_group))])
        };
        assert!(may(0o640, false, true) && may(0o600, true, true) && may(0o644, false, false));
        assert!(!may(0o640, false, false) && !may(0o600, false, true) && !may(0o044, true, true));
    }
}
