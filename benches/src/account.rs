//! What processes have used, by the kernel's own accounting.

use std::collections::HashMap;
use std::fs;

use anyhow::Context;

/// A role of a chain: a process and everything it started.
#[derive(Clone, Debug)]
pub struct Role {
    pub name: &'static str,
    pub pid: u32,
}

/// What a role has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Processor time, in seconds (schedstat, which counts nanoseconds).
    pub cpu: f64,
    /// Resident memory, in bytes.
    pub rss: u64,
}

impl Role {
    pub fn used(&self) -> Used {
        let mut used = Used::default();
        for pid in family(self.pid) {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let nanoseconds: u64 = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                used.cpu += nanoseconds as f64 / 1e9;
            }
            let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
            let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            used.rss += pages * 4096;
        }
        used
    }
}

/// Memory and size of programs that have just started.
pub fn at_start(roles: &[Role]) -> Vec<(String, f64)> {
    let sizes = roles.iter().map(|role| {
        let size = fs::metadata(format!("/proc/{}/exe", role.pid)).map_or(f64::NAN, |exe| exe.len() as f64);
        (format!("{} binary, MB", role.name), size / 1e6)
    });
    let memory =
        roles.iter().map(|role| (format!("{} at start, MiB", role.name), role.used().rss as f64 / 1048576.0));
    memory.chain(sizes).collect()
}

/// Processor time of all roles, in seconds.
pub fn cpu(roles: &[Role]) -> f64 {
    roles.iter().map(|role| role.used().cpu).sum()
}

/// A process and its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold spaces.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        family.extend(children.get(pid).into_iter().flatten());
        next += 1;
    }
    family
}

/// Bytes that the kernel holds in the TCP sockets of these roles, by `ss`.
///
/// # Errors
/// When there is no ss.
pub fn own_tcp_memory(roles: &[Role]) -> anyhow::Result<u64> {
    let output = std::process::Command::new("ss").args(["-tmnpH"]).output().context("run ss")?;
    let text = String::from_utf8_lossy(&output.stdout).replace("\n\t", " ");
    let pids: Vec<String> =
        roles.iter().flat_map(|role| family(role.pid)).map(|pid| format!("pid={pid},")).collect();
    let ours = text.lines().filter(|line| pids.iter().any(|pid| line.contains(pid)));
    // skmem:(r<received>,rb<limit>,t<sending>,tb<limit>,f<reserved>,w<queued>,...)
    Ok(ours
        .filter_map(|line| line.split_once("skmem:(")?.1.split_once(')'))
        .flat_map(|(fields, _)| fields.split(','))
        .filter_map(|field| field.strip_prefix('r').or(field.strip_prefix('w'))?.parse::<u64>().ok())
        .sum())
}

/// Memory that the kernel holds in TCP sockets, in bytes.
pub fn tcp_memory() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split(' ').skip_while(|word| *word != "mem");
    words.nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
