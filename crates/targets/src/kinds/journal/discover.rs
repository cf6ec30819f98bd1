//! The journals of services that run.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::candidate::{Candidate, Findings, Group};

/// Is there if the system was booted with systemd.
const BOOTED: &str = "/run/systemd/system";

/// Services that are parts of systemd, sessions of users, and the agent itself.
const LEFT_OUT: [&str; 6] = ["systemd-", "user@", "getty@", "serial-getty@", "console-getty", "stream-agent"];

pub(super) fn discover() -> Findings {
    if !Path::new(BOOTED).exists() {
        return vec![];
    }
    let mut list = Command::new("systemctl");
    list.args([
        "list-units",
        "--type=service",
        "--state=running",
        "--plain",
        "--no-legend",
        "--no-pager",
        "--full",
    ]);
    match list.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(listed) if listed.status.success() => of_list(&String::from_utf8_lossy(&listed.stdout)),
        Ok(_) => vec![Err("systemctl lists no units".to_owned())],
        Err(error) => vec![Err(format!("systemctl: {error}"))],
    }
}

fn of_list(text: &str) -> Findings {
    let units = text.lines().filter_map(|line| line.split_whitespace().next());
    let units = units.filter(|unit| !LEFT_OUT.iter().any(|start| unit.starts_with(start)));
    units.map(|unit| Ok(journal(unit))).collect()
}

fn journal(unit: &str) -> Candidate {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    let what = format!("journal of {name}");
    Candidate::new(Group::Log, &format!("{name}-log"), what).named("units", unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_journal_of_its_own() {
        let text = "cron.service               loaded active running Regular background program\n\
                    systemd-journald.service   loaded active running Journal Service\n\
                    app@1.service              loaded active running App\n";
        let found: Vec<Candidate> = of_list(text).into_iter().flatten().collect();
        let names: Vec<_> = found.iter().map(|candidate| candidate.name.as_str()).collect();
        assert_eq!(names, ["cron-log", "app-1-log"]);
        for candidate in found.into_iter().map(|candidate| candidate.found_by("journal")) {
            crate::Target::from_table(&candidate.name, candidate.table).unwrap();
        }
    }
}
