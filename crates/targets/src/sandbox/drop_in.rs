//! The drop-in for the service of the unsplit agent.

use std::fmt::Write;

use super::needs::{MADE_BY, Needs, Process, names};
use crate::target::Target;

/// The settings that the shipped unit lacks. `Display` writes the drop-in, which is valid and has only comments if
/// nothing is needed.
#[derive(Debug)]
pub struct DropIn(Needs);

impl DropIn {
    /// Computes the needs of these targets on this host.
    pub fn new(targets: &[Target]) -> DropIn {
        DropIn(Needs::of(targets, Process::Agent))
    }

    /// Whether it makes the service run as root.
    pub fn gives_root(&self) -> bool {
        self.0.settings.contains_key("User=root")
    }

    /// The settings that a unit lacks; `unit` is the output of `systemctl cat`.
    pub fn missing_in<'a>(&'a self, unit: &str) -> Vec<&'a str> {
        self.0.settings.keys().map(String::as_str).filter(|setting| !gives(unit, setting)).collect()
    }
}

impl std::fmt::Display for DropIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Needs { settings, remarks, .. } = &self.0;
        writeln!(f, "{MADE_BY}: what this host's targets need beyond the shipped unit.")?;
        f.write_str("# Make it again when targets have changed, then: systemctl daemon-reload && systemctl restart stream-agent\n")?;
        if settings.is_empty() && remarks.is_empty() {
            f.write_str("# Nothing.\n")?;
        }
        for (text, targets) in remarks {
            f.write_char('\n')?;
            writeln!(f, "# {}, which no drop-in gives:", names(targets))?;
            // A file name may contain what ends a line for systemd, and root installs this file.
            text.split(char::is_control).try_for_each(|line| writeln!(f, "#   {line}"))?;
        }
        if !settings.is_empty() {
            f.write_str("\n[Service]\n")?;
        }
        let mut before = None;
        for (line, targets) in settings {
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
