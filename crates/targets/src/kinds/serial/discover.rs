//! Serial lines: those with a name that stays, then the ports of this machine that exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::candidate::{Candidate, Findings, Group};

/// Where udev has a link for each adapter.
const BY_ID: &str = "/dev/serial/by-id";

/// Where the kernel has a folder for each terminal.
const TERMINALS: &str = "/sys/class/tty";

/// The type of a port that is not there.
const NO_PORT: &str = "0";

pub(super) fn discover() -> Findings {
    let mut adapters = entries(BY_ID);
    adapters.sort();
    let mut ports: Vec<PathBuf> = entries(TERMINALS).into_iter().filter(|path| is_port(path)).collect();
    // ttyS10 comes after ttyS9.
    ports.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    let ports = ports.iter().filter_map(|path| Some(Path::new("/dev").join(path.file_name()?)));
    let lines = adapters.into_iter().chain(ports.filter(|path| path.exists()));
    lines.filter_map(|path| line(&path)).map(Ok).collect()
}

fn entries(dir: &str) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Whether it is a port of this machine that exists; the kernel has folders for others, too.
fn is_port(terminal: &Path) -> bool {
    let name = terminal.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let kind = fs::read_to_string(terminal.join("type")).unwrap_or_default();
    name.starts_with("ttyS") && !matches!(kind.trim(), "" | NO_PORT)
}

fn line(path: &Path) -> Option<Candidate> {
    let name = path.file_name()?.to_str()?;
    let what = format!("serial line {name}");
    // Most of the links begin with how the adapter is connected.
    let short = name.strip_prefix("usb-").unwrap_or(name);
    Some(Candidate::new(Group::Console, short, what).of("path", path.to_str()?))
}
