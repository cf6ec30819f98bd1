//! What targets need that the shipped unit does not give, as a drop-in for systemd. Looks at files and their owners on
//! this host, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::Target;
use super::access::{Need, allowing_groups};

/// One thing that a target needs from the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// To use a file, directory or socket.
    Path(PathBuf, Need),
    /// To use a device.
    Device(PathBuf),
    /// A group that the unit gives.
    Group(&'static str),
    /// To see processes of other users in /proc.
    OtherProcesses,
    /// Settings that are always the same.
    Settings(&'static [&'static str]),
    /// What no unit can give, in words.
    Remark(String),
}

/// For programs that become another user: root, with what that takes and nothing else.
pub(super) const ANOTHER_USER: Wants = Wants::Settings(&[
    "User=root",
    "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL",
    "PrivateUsers=no",
    "SystemCallFilter=@setuid @chown",
]);

/// Lines of the drop-in, each with the targets that it is for; and remarks.
#[derive(Debug, Default)]
struct DropIn {
    settings: BTreeMap<String, BTreeSet<String>>,
    remarks: BTreeMap<String, BTreeSet<String>>,
}

/// The drop-in for these targets. Without any need it has comments only, and is a valid drop-in, too.
pub fn drop_in(targets: &[Target]) -> String {
    let mut drop_in = DropIn::default();
    for target in targets {
        for wants in target.kind.wants() {
            drop_in.add(&target.name, wants);
        }
    }
    drop_in.to_string()
}

impl DropIn {
    fn add(&mut self, target: &str, wants: Wants) {
        match wants {
            Wants::Settings(lines) => lines.iter().for_each(|line| self.set(target, *line)),
            Wants::Group(group) => self.set(target, format!("SupplementaryGroups={group}")),
            Wants::OtherProcesses => self.set(target, "ProtectProc=default"),
            Wants::Remark(text) => self.remark(target, text),
            Wants::Path(path, need) => self.path(target, &path, need),
            Wants::Device(path) => {
                // Terminals are in every unit's /dev.
                if !path.starts_with("/dev/pts") {
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
                groups.iter().for_each(|group| self.set(target, format!("SupplementaryGroups={group}")));
            }
            Err(why) => self.remark(target, why),
        }
    }

    fn set(&mut self, target: &str, line: impl Into<String>) {
        self.settings.entry(line.into()).or_default().insert(target.to_owned());
    }

    fn remark(&mut self, target: &str, text: String) {
        self.remarks.entry(text).or_default().insert(target.to_owned());
    }
}

impl std::fmt::Display for DropIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("# What this host's targets need beyond the shipped unit. Made by `stream-agent targets --systemd-dropin`:\n")?;
        f.write_str("# make it anew when targets have changed, then: systemctl daemon-reload && systemctl restart stream-agent\n")?;
        if self.settings.is_empty() && self.remarks.is_empty() {
            f.write_str("# Nothing.\n")?;
        }
        for (text, targets) in &self.remarks {
            f.write_char('\n')?;
            writeln!(f, "# {}, which no drop-in gives:", names(targets))?;
            text.lines().try_for_each(|line| writeln!(f, "#   {line}"))?;
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

fn names(targets: &BTreeSet<String>) -> String {
    targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::agent::target::testing::target;

    fn printed(tables: &[String]) -> String {
        drop_in(&tables.iter().map(|table| target(table)).collect::<Vec<_>>())
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
    fn what_no_group_may_use_and_what_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let missing = printed(&[format!("kind = 'unix'\npath = '{}/none'", dir.path().display())]);
        assert!(
            missing.contains("which no drop-in gives:\n#   ") && missing.contains("is closed to its group"),
            "{missing}"
        );
        let missing = printed(&["kind = 'unix'\npath = '/run/stream-test-none'".into()]);
        assert!(missing.contains("#   /run/stream-test-none is not there yet"), "{missing}");
    }
}
