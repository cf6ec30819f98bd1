//! The machines that systemd-machined knows.

use std::fs;
use std::io::ErrorKind;

use crate::support::candidate::{Candidate, Findings, Group};

/// Where systemd-machined keeps a file for each machine.
const MACHINES: &str = "/run/systemd/machines";

/// What begins the name of libvirt's service, whose machines have consoles of their own.
const LIBVIRT: &str = "SERVICE=libvirt";

pub(super) fn discover() -> Findings {
    let entries = match fs::read_dir(MACHINES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return vec![],
        Err(error) => return vec![Err(format!("{MACHINES}: {error}"))],
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // `.host` is this host, and `unit:NAME` is a link to one of the others.
        let is_machine = !name.starts_with('.') && !name.contains(':');
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let is_libvirt = text.lines().any(|line| line.starts_with(LIBVIRT));
        (is_machine && !is_libvirt).then_some(name)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.iter().map(|name| Ok(login(name))).collect()
}

fn login(name: &str) -> Candidate {
    let what = format!("login prompt of the machine {name}");
    Candidate::new(Group::Console, &format!("{name}-login"), what)
        .named("machines", name)
        .with("action", "login")
}
