//! Finds what this host has that could be a target and is none yet. Each kind looks for what it opens.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::kinds::Kind;
use super::support::candidate::Candidate;
use super::target::Target;

/// What was found.
#[derive(Debug, Default)]
pub struct Discovered {
    /// By group. The names are unique, also among the targets.
    pub candidates: Vec<Candidate>,
    /// What could not be searched, and why: a line for each.
    pub remarks: Vec<String>,
}

/// Searches this host. Opens nothing, and takes at most a few seconds, whatever does not answer. `targets` are the tables
/// of the targets that there are.
pub async fn discover(targets: &Table) -> Discovered {
    let mut discovered = Discovered::default();
    for (kind, found) in Kind::discover().await {
        for found in found {
            match found {
                Ok(candidate) => discovered.candidates.push(candidate.found_by(kind)),
                Err(why) => discovered.remarks.push(format!("{kind}: {why}")),
            }
        }
    }
    let tables: Vec<&Table> = targets.values().filter_map(Value::as_table).collect();
    let candidates = &mut discovered.candidates;
    candidates.retain(|candidate| !tables.iter().any(|table| candidate.is_opened_by(table)));
    // What the kind refuses itself can be no target, and what cannot be shown can be typed by nobody.
    candidates.retain(|candidate| {
        candidate.is_printable() && Target::from_table(&candidate.name, candidate.table.clone()).is_ok()
    });
    candidates.sort_by_key(|candidate| candidate.group);
    make_unique(candidates, targets.keys().cloned().collect());
    discovered
}

fn make_unique(candidates: &mut [Candidate], mut used: BTreeSet<String>) {
    for candidate in candidates {
        let numbered = (2_u32..).map(|number| format!("{}-{number}", candidate.name));
        let mut names = std::iter::once(candidate.name.clone()).chain(numbered);
        if let Some(name) = names.find(|name| !used.contains(name)) {
            used.insert(name.clone());
            candidate.name = name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::candidate::Group;

    #[test]
    fn no_name_is_proposed_twice() {
        let mut candidates = [(); 3].map(|()| Candidate::new(Group::Log, "web", String::new()));
        make_unique(&mut candidates, ["web-2".to_owned()].into());
        assert_eq!(candidates.map(|candidate| candidate.name), ["web", "web-3", "web-4"]);
    }
}
