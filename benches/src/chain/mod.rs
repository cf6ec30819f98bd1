//! What is measured: processes between a client and the target, and the door that leads in.

mod copies;
mod ours;
mod peers;
mod process;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use crate::account::Role;
use crate::wire::{Door, Wire};
use process::Process;

/// Everything between the client's connection and the target's.
pub struct Chain {
    pub name: &'static str,
    /// What it is, for the page.
    pub what: &'static str,
    pub roles: Vec<Role>,
    entry: Entry,
    /// Sets of measurements that are of use with it.
    pub traits: Traits,
}

/// What a chain is like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// Two processes, so two hops.
    pub two_hops: bool,
    /// Holds thousands of sessions.
    pub holds_many: bool,
}

enum Entry {
    Fixed(Door),
    Sessions { platform: Arc<ours::Platform>, targets: &'static [&'static str] },
}

impl Chain {
    /// Doors for so many connections; ours are made one by one by a platform.
    ///
    /// # Errors
    /// When a session is refused.
    pub fn doors(&self, count: usize) -> anyhow::Result<Vec<Door>> {
        match &self.entry {
            Entry::Fixed(door) => Ok(vec![door.clone(); count]),
            Entry::Sessions { platform, targets } => platform.sessions(targets, count),
        }
    }

    /// For chains whose sessions are made in advance: the work that is left before a client can connect.
    pub fn platform(&self) -> Option<(&Arc<ours::Platform>, &'static str)> {
        match &self.entry {
            Entry::Fixed(_) => None,
            Entry::Sessions { platform, targets } => Some((platform, targets[0])),
        }
    }

    /// Whether it is what is built here.
    pub fn is_ours(&self) -> bool {
        matches!(self.entry, Entry::Sessions { .. })
    }

    /// A connection through the chain.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(&self) -> anyhow::Result<Wire> {
        let mut doors = self.doors(1)?;
        let door = doors.pop().context("no door")?;
        Wire::open(&door).with_context(|| self.name.to_owned())
    }
}

/// Where programs are found, and where chains listen.
pub struct Ground<'a> {
    /// Our own programs.
    pub bin: &'a Path,
    /// Programs of peers that were built from crates.
    pub peers: &'a Path,
    /// A folder for configuration and logs.
    pub dir: &'a Path,
    /// Where clients come in; loopback except for the slow link.
    pub listen: std::net::IpAddr,
    /// The target.
    pub target: SocketAddr,
}

/// The chains that can run here, started; and the processes behind them. What is missing is said.
///
/// # Errors
/// When one of ours does not start: a peer that is not installed is left out.
pub fn start(ground: &Ground<'_>, only: &[String]) -> anyhow::Result<(Vec<Chain>, Vec<Process>)> {
    let mut chains = vec![];
    let mut processes = vec![];
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    for (name, starter) in [&ours::STARTERS[..], &copies::STARTERS, &peers::STARTERS].concat() {
        if !wanted(name) {
            continue;
        }
        match starter(ground) {
            Ok(started) => {
                chains.extend(started.chains);
                processes.extend(started.processes);
            }
            Err(error) if ours::STARTERS.iter().any(|(ours, _)| *ours == name) => return Err(error),
            Err(error) => eprintln!("left out: {name}: {error:#}"),
        }
    }
    Ok((chains, processes))
}

/// What a starter gives.
#[derive(Default)]
pub struct Started {
    chains: Vec<Chain>,
    processes: Vec<Process>,
}

type Starter = fn(&Ground<'_>) -> anyhow::Result<Started>;

/// A port that nobody has at this moment.
fn free_port(ip: std::net::IpAddr) -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind((ip, 0))?.local_addr()
}
