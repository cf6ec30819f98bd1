//! How the installed service opens targets, and what its units lack. For commands that root runs outside of it.

use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use service::config::Loaded;
use service::unit::{self, Unreadable};
use targets::Target;
use targets::sandbox::{DropIn, OPENER_USER, SERVICE_USER, Units};

/// Where the network half asks.
pub const OPENER: &str = "/run/stream-agent/open";

/// Where the owner's units are.
pub const UNITS: &str = "/etc/systemd/system";

/// Where the owner puts the rule that is printed.
const POLKIT_RULE: &str = "/etc/polkit-1/rules.d/50-stream-agent.rules";

/// Settings of the service that only an unsplit agent should have.
const ONLY_UNSPLIT: [&str; 3] = ["SupplementaryGroups", "DeviceAllow", "CapabilityBoundingSet"];

/// What makes the units fit the targets.
const WRITE: &str =
    "`stream-agent targets --systemd-dropin && systemctl daemon-reload && systemctl restart stream-agent`";

/// The same for the unsplit agent.
const WRITE_DROP_IN: &str = "`stream-agent targets --systemd-dropin | install -D -m 644 /dev/stdin \
                             /etc/systemd/system/stream-agent.service.d/targets.conf && systemctl daemon-reload && \
                             systemctl restart stream-agent`";

/// The unit of the service, as it is installed.
#[derive(Debug)]
pub enum Installed {
    /// One process opens the targets and faces the network. Has the text of the unit.
    Unsplit(String),
    /// The service asks an opener.
    Split(String),
}

/// Something that keeps the service from opening a target.
#[derive(Debug)]
pub struct Lack {
    pub what: String,
    pub remedy: String,
}

impl Installed {
    /// The service that runs with this configuration. `None` if there is none.
    pub fn with(file: &Path) -> Option<Installed> {
        let text = unit::runs_with(file).then(unit::text).flatten()?;
        let is_split =
            unit::setting(&text, "ExecStart").is_some_and(|command| command.contains(" --opener "));
        Some(if is_split { Installed::Split(text) } else { Installed::Unsplit(text) })
    }

    pub fn is_split(&self) -> bool {
        matches!(self, Installed::Split(_))
    }

    /// What the service lacks for these targets, or has for no reason.
    pub fn lacks(&self, targets: &[Target]) -> Vec<Lack> {
        match self {
            Installed::Unsplit(text) => {
                let drop_in = DropIn::new(targets);
                match drop_in.missing_in(text).as_slice() {
                    [] => vec![],
                    missing => vec![Lack {
                        what: format!("it lacks {}", missing.join(", ")),
                        remedy: WRITE_DROP_IN.into(),
                    }],
                }
            }
            Installed::Split(text) => {
                let differences = Units::new(targets).differences(Path::new(UNITS));
                let units = (!differences.is_empty())
                    .then(|| Lack { what: differences.join(", "), remedy: WRITE.into() });
                units.into_iter().chain(too_much(text)).chain(groups()).chain(rule()).collect()
            }
        }
    }

    /// Files that a half cannot read, and must.
    pub fn unreadable(&self, file: &Path, loaded: &Loaded) -> Vec<Unreadable> {
        if !Uid::effective().is_root() {
            return vec![];
        }
        match self {
            Installed::Unsplit(_) => unit::unreadable(file, loaded),
            Installed::Split(_) => {
                let owners = file.with_file_name("targets.d");
                let (targets, shared): (Vec<PathBuf>, Vec<PathBuf>) =
                    unit::files(file, loaded).into_iter().partition(|path| path.starts_with(&owners));
                let public: Vec<PathBuf> = unit::public_files(file, loaded)
                    .into_iter()
                    .filter(|path| !path.starts_with(&owners))
                    .collect();
                // The opener is in the group of the network half, because both read the configuration.
                let network_half = unit::unreadable_by(SERVICE_USER, SERVICE_USER, shared);
                let opener = unit::unreadable_by(OPENER_USER, OPENER_USER, targets);
                // If the network half cannot read one either, that is said already.
                let rest = if network_half.is_empty() {
                    unit::unreadable_by(OPENER_USER, SERVICE_USER, public)
                } else {
                    vec![]
                };
                network_half.into_iter().chain(opener).chain(rest).collect()
            }
        }
    }
}

/// Rights of the process that faces the network, which were for targets before the agent was split.
fn too_much(text: &str) -> Option<Lack> {
    let given = ONLY_UNSPLIT.iter().filter_map(|key| {
        let value = unit::setting(text, key).filter(|value| !value.is_empty())?;
        Some(format!("{key}={value}"))
    });
    let user =
        unit::setting(text, "User").filter(|user| *user != SERVICE_USER).map(|user| format!("User={user}"));
    let given: Vec<String> = given.chain(user).collect();
    (!given.is_empty()).then(|| Lack {
        what: format!("the process that faces the network has {}, and opens no target", given.join(", ")),
        remedy: "take that out of the files in /etc/systemd/system/stream-agent.service.d: targets that need it have units of \
                 their own"
            .into(),
    })
}

/// Groups that the user of the network half was made a member of, for targets of an unsplit agent.
fn groups() -> Option<Lack> {
    let others = unit::other_groups(SERVICE_USER);
    (!others.is_empty()).then(|| Lack {
        what: format!(
            "the process that faces the network is in the groups {}, and opens no target",
            others.join(", ")
        ),
        remedy: format!(
            "`gpasswd -d {SERVICE_USER} {}`",
            others.join(&format!(" && gpasswd -d {SERVICE_USER} "))
        ),
    })
}

/// The rule of polkit that `targets --systemd-dropin` prints, as an unsplit agent needed it.
fn rule() -> Option<Lack> {
    let text = std::fs::read_to_string(POLKIT_RULE).ok()?;
    text.contains(&format!("subject.user == \"{SERVICE_USER}\"")).then(|| Lack {
        what: format!(
            "{POLKIT_RULE} gives rights to the process that faces the network, which opens no target"
        ),
        remedy: format!("write \"{OPENER_USER}\" instead of \"{SERVICE_USER}\" there"),
    })
}
