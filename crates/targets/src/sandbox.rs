//! Computes what targets need beyond the sandbox of the shipped unit, as a drop-in for systemd. Reads files and their
//! owners on this host, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fmt::Write;
use std::path::Path;

use nix::unistd::{Group, User, getgrouplist};

use super::support::wants::{SERVICE_USER, Wants};
use super::target::Target;
use crate::support::access::{Need, allowing_groups};
use crate::support::paths::resolve;

/// The settings that the shipped unit lacks. `Display` writes the drop-in, which is valid and has only comments if
/// nothing is needed.
#[derive(Debug, Default)]
pub struct DropIn {
    /// Lines of the drop-in, each with the targets that need it.
    settings: BTreeMap<String, BTreeSet<String>>,
    remarks: BTreeMap<String, BTreeSet<String>>,
}

impl DropIn {
    /// Computes the needs of these targets on this host.
    pub fn new(targets: &[Target]) -> DropIn {
        let mut drop_in = DropIn::default();
        for target in targets {
            for wants in target.kind.wants() {
                drop_in.add(&target.name, wants);
            }
        }
        drop_in
    }

    /// Whether it makes the service run as root.
    pub fn gives_root(&self) -> bool {
        self.settings.contains_key("User=root")
    }

    /// The settings that a unit lacks; `unit` is the output of `systemctl cat`.
    pub fn missing_in<'a>(&'a self, unit: &str) -> Vec<&'a str> {
        self.settings.keys().map(String::as_str).filter(|setting| !gives(unit, setting)).collect()
    }

    fn add(&mut self, target: &str, wants: Wants) {
        match wants {
            Wants::Settings(lines) => lines.iter().for_each(|line| self.set(target, *line)),
            Wants::Group(group) => self.group(target, group),
            Wants::OtherProcesses => self.set(target, "ProtectProc=default"),
            Wants::Remark(text) => self.remark(target, text),
            Wants::Path(path, need) => self.path(target, &path, need),
            Wants::Device(path) => {
                // Terminals are in every unit's /dev. A link outside of /dev may be changed to any device.
                let real = resolve(&path).map_or_else(|_| path.clone(), |found| found.path().to_owned());
                if !real.starts_with("/dev/pts") && path.starts_with("/dev") {
                    self.set(target, "PrivateDevices=no");
                    self.set(target, format!("DeviceAllow={} rw", path.display()));
                }
                self.path(target, &path, Need::ReadWrite);
            }
        }
    }

    fn path(&mut self, target: &str, path: &Path, need: Need) {
        if ["/home", "/root", "/run/user"].iter().any(|home| path.starts_with(home)) {
            self.set(target, "ProtectHome=read-only");
        }
        if ["/tmp", "/var/tmp"].iter().any(|temporary| path.starts_with(temporary)) {
            self.set(target, "PrivateTmp=no");
        }
        match allowing_groups(path, need) {
            Ok(groups) => {
                groups.iter().for_each(|group| self.group(target, group));
            }
            Err(why) => self.remark(target, why),
        }
    }

    fn group(&mut self, target: &str, group: &str) {
        if !is_member(group) {
            self.set(target, format!("SupplementaryGroups={group}"));
        }
    }

    fn set(&mut self, target: &str, line: impl Into<String>) {
        let line = line.into();
        if line.contains(char::is_control) {
            return self.remark(target, format!("a name with control characters: {line}"));
        }
        self.settings.entry(line).or_default().insert(target.to_owned());
    }

    fn remark(&mut self, target: &str, text: String) {
        self.remarks.entry(text).or_default().insert(target.to_owned());
    }
}

impl std::fmt::Display for DropIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("# What this host's targets need beyond the shipped unit. Made by `stream-agent targets --systemd-dropin`:\n")?;
        f.write_str("# make it again when targets have changed, then: systemctl daemon-reload && systemctl restart stream-agent\n")?;
        if self.settings.is_empty() && self.remarks.is_empty() {
            f.write_str("# Nothing.\n")?;
        }
        for (text, targets) in &self.remarks {
            f.write_char('\n')?;
            writeln!(f, "# {}, which no drop-in gives:", names(targets))?;
            // A file name may contain what ends a line for systemd, and root installs this file.
            text.split(char::is_control).try_for_each(|line| writeln!(f, "#   {line}"))?;
        }
        if !self.settings.is_empty() {
            f.write_str("\n[Service]\n")?;
        }
        let mut before = None;
        for (line, targets) in &self.settings {
            if before != Some(targets) {
                writeln!(f, "# {}", names(targets))?;
            }
            before = Some(targets);
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// Settings that may occur several times in a unit, each adding to the ones before.
const LISTS: [&str; 4] = ["SupplementaryGroups", "DeviceAllow", "CapabilityBoundingSet", "SystemCallFilter"];

/// Whether a unit's text contains a setting, perhaps among others. As in systemd, the last value counts, and an empty
/// value of a list clears it.
fn gives(unit: &str, setting: &str) -> bool {
    let Some((wanted, value)) = setting.split_once('=') else { return false };
    let mut held: Vec<&str> = vec![];
    for line in unit.lines() {
        let Some((key, words)) = line.trim().split_once('=') else { continue };
        if key.trim_end() != wanted {
            continue;
        }
        if words.trim().is_empty() || !LISTS.contains(&wanted) {
            held.clear();
        }
        held.extend(words.split_whitespace().map(plain));
    }
    let is_open = wanted == "ProtectHome" && held == ["no"];
    is_open || value.split(' ').all(|word| held.contains(&plain(word)))
}

fn plain(word: &str) -> &str {
    match word {
        "false" | "off" | "0" => "no",
        "true" | "on" | "1" => "yes",
        word => word,
    }
}

/// Whether the service's user is already a member of this group.
fn is_member(group: &str) -> bool {
    let Ok(Some(user)) = User::from_name(SERVICE_USER) else { return false };
    let groups = CString::new(SERVICE_USER).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
    let names = groups.into_iter().flatten().filter_map(|gid| Group::from_gid(gid).ok().flatten());
    names.into_iter().any(|found| found.name == group)
}

fn names(targets: &BTreeSet<String>) -> String {
    targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::testing::target;

    fn printed(tables: &[String]) -> String {
        DropIn::new(&tables.iter().map(|table| target(table)).collect::<Vec<_>>()).to_string()
    }

    #[test]
    fn what_everybody_may_use_needs_nothing() {
        let text = printed(&[
            "kind = 'file'\npath = '/etc/passwd'".into(),
            "kind = 'tcp'\naddress = '127.0.0.1:1'".into(),
        ]);
        assert!(text.ends_with("# Nothing.\n"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#')));
    }

    #[test]
    fn a_group_a_device_and_a_place_are_given_and_nothing_else() {
        let journal = printed(&["kind = 'journal'\nunits = ['*']".into()]);
        assert!(
            journal.contains("[Service]\n") && journal.contains("\nSupplementaryGroups=systemd-journal\n"),
            "{journal}"
        );
        let serial = printed(&["kind = 'serial'\npath = '/dev/null'".into()]);
        assert!(serial.contains("\nDeviceAllow=/dev/null rw\nPrivateDevices=no\n"), "{serial}");
        assert!(!serial.contains("SupplementaryGroups"), "{serial}");
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = dir.path().join("log");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let log = printed(&[format!("kind = 'file'\npath = '{}'", file.display())]);
        assert!(log.ends_with("[Service]\n# test\nPrivateTmp=no\n"), "{log}");
    }

    #[test]
    fn what_a_unit_has_already_is_not_missing() {
        let wants = DropIn::new(&[target("kind = 'serial'\npath = '/dev/null'")]);
        assert_eq!(
            wants.missing_in("[Service]\nPrivateDevices=yes\n"),
            ["DeviceAllow=/dev/null rw", "PrivateDevices=no"]
        );
        assert_eq!(
            wants.missing_in("PrivateDevices=yes\n\nPrivateDevices=no\nDeviceAllow=/dev/null rw\n"),
            [""; 0]
        );
    }

    #[test]
    fn the_last_word_of_a_unit_counts() {
        assert!(
            gives("PrivateTmp=false", "PrivateTmp=no")
                && !gives("PrivateTmp=no\nPrivateTmp=yes", "PrivateTmp=no")
        );
        assert!(gives("SupplementaryGroups=a b\nSupplementaryGroups=c", "SupplementaryGroups=b"));
        assert!(!gives("SupplementaryGroups=b\nSupplementaryGroups=", "SupplementaryGroups=b"));
        assert!(
            gives("ProtectHome=no", "ProtectHome=read-only")
                && !gives("ProtectHome=yes", "ProtectHome=read-only")
        );
        assert!(gives("DeviceAllow=/dev/null r\nDeviceAllow=/dev/ttyS0 rw", "DeviceAllow=/dev/ttyS0 rw"));
    }

    #[test]
    fn names_of_files_make_no_lines_for_systemd_and_links_give_no_group() {
        let dir = tempfile::tempdir().unwrap();
        let name = "a\r[Service]\rExecStartPre=+sh.log";
        let closed = dir.path().join(name);
        std::fs::write(&closed, "").unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", dir.path().join("x.log")).unwrap();
        let logs = printed(&[format!("kind = 'file'\npaths = ['{}/*.log']", dir.path().display())]);
        let lines: Vec<&str> = logs.split(['\n', '\r']).collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with('[')).count(), 1, "{logs:?}");
        assert!(lines.iter().all(|line| !line.starts_with("Exec")), "{logs:?}");
        assert!(logs.contains("#   ExecStartPre=+sh.log") && !logs.contains("shadow"), "{logs}");
    }

    #[test]
    fn what_no_group_may_use_and_what_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(dir.path().join("there"), "").unwrap();
        let missing = printed(&[format!("kind = 'unix'\npath = '{}/there'", dir.path().display())]);
        assert!(
            missing.contains("which no drop-in gives:\n#   ") && missing.contains("is closed to its group"),
            "{missing}"
        );
        let missing = printed(&["kind = 'unix'\npath = '/run/stream-test-none'".into()]);
        assert!(missing.contains("#   /run/stream-test-none is not there yet"), "{missing}");
    }
}
