//! What targets need, as settings of a unit.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::path::Path;

use nix::unistd::{Group, User, getgrouplist};

use crate::support::access::{Need, allowing_groups};
use crate::support::paths::resolve;
use crate::support::wants::{OPENER_USER, SERVICE_USER, Wants};
use crate::target::Target;

/// The first line of what the command writes.
pub(super) const MADE_BY: &str = "# Made by `stream-agent targets --systemd-dropin`";

/// For programs that run as another user in the unsplit agent: root, with the necessary capabilities only.
const ANOTHER_USER: [&str; 4] = [
    "User=root",
    "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL",
    "PrivateUsers=no",
    "SystemCallFilter=@setuid @chown",
];

/// What the owner accepts with `user` in the unsplit agent.
const AS_ROOT: &str = "a service that starts programs as other users runs as root; exec targets without `user` are refused then";

/// A cell that runs as this user, who may have other processes.
fn named_user(name: &str) -> [String; 3] {
    ["DynamicUser=no".into(), format!("User={name}"), "RemoveIPC=no".into()]
}

/// A cell that enters containers: root, without most of what the sandbox takes away.
const ROOT: [&str; 20] = [
    "DynamicUser=no",
    "User=root",
    "RemoveIPC=no",
    "CapabilityBoundingSet=~",
    "DevicePolicy=auto",
    "IPAddressDeny=",
    "PrivateDevices=no",
    // Its console answers at an abstract socket, which belongs to the network namespace.
    "PrivateNetwork=no",
    "PrivateUsers=no",
    "ProcSubset=all",
    "ProtectControlGroups=no",
    "ProtectKernelTunables=no",
    "ProtectProc=default",
    // Its locks.
    "ReadWritePaths=-/run/lxc",
    "RestrictAddressFamilies=AF_NETLINK",
    "RestrictNamespaces=no",
    "RestrictSUIDSGID=no",
    "SystemCallFilter=",
    "MemoryDenyWriteExecute=no",
    "PrivateIPC=no",
];

/// Which process opens the targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// The unsplit agent.
    Agent,
    /// A cell of the split one.
    Cell,
}

impl Process {
    pub(super) fn user(self) -> &'static str {
        match self {
            Process::Agent => SERVICE_USER,
            Process::Cell => OPENER_USER,
        }
    }
}

/// Settings that the shipped unit lacks, and what no unit can give.
#[derive(Debug)]
pub(super) struct Needs {
    process: Process,
    /// Lines of the unit, each with the targets that need it.
    pub(super) settings: BTreeMap<String, BTreeSet<String>>,
    pub(super) remarks: BTreeMap<String, BTreeSet<String>>,
}

impl Needs {
    /// Computes the needs of these targets on this host.
    pub(super) fn of(targets: &[Target], process: Process) -> Needs {
        let mut needs = Needs { process, settings: BTreeMap::new(), remarks: BTreeMap::new() };
        for target in targets {
            for wants in target.kind.wants() {
                needs.add(&target.name, wants);
            }
        }
        needs
    }

    fn add(&mut self, target: &str, wants: Wants) {
        let is_cell = self.process == Process::Cell;
        match wants {
            Wants::Group(group) => self.group(target, group),
            Wants::OtherProcesses => self.set(target, "ProtectProc=default"),
            Wants::Path(path, need) => self.path(target, &path, need),
            Wants::Member(group, who) => {
                self.by_name(target);
                let user = self.process.user();
                let command = format!("usermod -aG {group} {user} ({who} does not see SupplementaryGroups=)");
                self.remark(target, command);
            }
            Wants::Polkit(action) => {
                self.by_name(target);
                let user = self.process.user();
                self.remark(
                    target,
                    format!(
                        "a rule of polkit, in /etc/polkit-1/rules.d/50-stream-agent.rules:\n\
                     polkit.addRule(function(action, subject) {{\n  \
                       if (action.id == \"{action}\" && subject.user == \"{user}\")\n    \
                         return polkit.Result.YES;\n\
                     }});"
                    ),
                );
            }
            Wants::User(name) if is_cell => {
                named_user(&name).into_iter().for_each(|line| self.set(target, line))
            }
            Wants::User(name) => {
                if name != SERVICE_USER {
                    ANOTHER_USER.into_iter().for_each(|line| self.set(target, line));
                    self.remark(target, AS_ROOT.into());
                }
            }
            Wants::Root(_) if is_cell => ROOT.into_iter().for_each(|line| self.set(target, line)),
            Wants::Root(why) => self.remark(target, why.into()),
            Wants::Network if is_cell => {
                for line in
                    ["PrivateNetwork=no", "IPAddressDeny=", "RestrictAddressFamilies=AF_INET AF_INET6"]
                {
                    self.set(target, line);
                }
            }
            // It is the agent's own.
            Wants::Network => {}
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

    /// Somebody looks up the user's name, so a cell has that of the opener.
    fn by_name(&mut self, target: &str) {
        if self.process == Process::Cell {
            named_user(OPENER_USER).into_iter().for_each(|line| self.set(target, line));
        }
    }

    fn path(&mut self, target: &str, path: &Path, need: Need) {
        if ["/home", "/root", "/run/user"].iter().any(|home| path.starts_with(home)) {
            self.set(target, "ProtectHome=read-only");
        }
        if ["/tmp", "/var/tmp"].iter().any(|temporary| path.starts_with(temporary)) {
            self.set(target, "PrivateTmp=no");
            // systemd gives a /tmp of its own to each user that it makes.
            self.by_name(target);
        }
        match allowing_groups(path, need) {
            Ok(groups) => groups.iter().for_each(|group| self.group(target, group)),
            Err(why) => self.remark(target, why),
        }
    }

    fn group(&mut self, target: &str, group: &str) {
        let is_member = match self.process {
            Process::Agent => is_member(SERVICE_USER, group),
            // Its user is made for the session.
            Process::Cell => false,
        };
        if !is_member {
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

/// Whether a user is a member of this group.
pub(super) fn is_member(user: &str, group: &str) -> bool {
    let Ok(Some(found)) = User::from_name(user) else { return false };
    let groups = CString::new(user).ok().and_then(|name| getgrouplist(&name, found.gid).ok());
    let names = groups.into_iter().flatten().filter_map(|gid| Group::from_gid(gid).ok().flatten());
    names.into_iter().any(|found| found.name == group)
}

pub(super) fn names(targets: &BTreeSet<String>) -> String {
    targets.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
