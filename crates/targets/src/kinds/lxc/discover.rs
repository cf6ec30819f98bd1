//! The containers in LXC's own folder.

use std::fs;
use std::io::ErrorKind;

use crate::support::candidate::{Candidate, Findings, Group};

/// The default of `lxc.lxcpath`.
const CONTAINERS: &str = "/var/lib/lxc";

pub(super) fn discover() -> Findings {
    let entries = match fs::read_dir(CONTAINERS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return vec![],
        Err(error) => return vec![Err(format!("{CONTAINERS}: {error}"))],
    };
    let containers = entries.flatten().filter(|entry| entry.path().join("config").is_file());
    let mut names: Vec<String> =
        containers.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.iter().map(|name| Ok(console(name))).collect()
}

fn console(name: &str) -> Candidate {
    let what = format!("console of the LXC container {name}");
    Candidate::new(Group::Console, &format!("{name}-console"), what).named("containers", name)
}
