//! The processes of this host and what they hold open, by procfs. Only root sees those of others.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The state of a socket that listens, in /proc/net/tcp.
const LISTEN: &str = "0A";

/// A process that ran when it was looked for.
pub(crate) struct RunningProcess {
    dir: PathBuf,
    /// The first 15 bytes of its name.
    pub(crate) name: String,
}

/// All processes that this user may see.
pub(crate) fn processes() -> Vec<RunningProcess> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_number))
        .filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?.trim_end().to_owned();
            Some(RunningProcess { dir: entry.path(), name })
        })
        .collect()
}

impl RunningProcess {
    /// The arguments, beginning with the program.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let line = fs::read(self.dir.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    }

    /// The links of its descriptors, each with what it leads to.
    fn descriptors(&self) -> Vec<(PathBuf, PathBuf)> {
        let entries = fs::read_dir(self.dir.join("fd")).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?))).collect()
    }

    /// Files below `dir` that it has open for writing, each with the descriptor's link.
    pub(crate) fn written_below(&self, dir: &Path) -> Vec<(PathBuf, PathBuf)> {
        let below = self.descriptors().into_iter().filter(|(_, path)| path.starts_with(dir));
        below.filter(|(link, _)| self.writes(link)).collect()
    }

    fn writes(&self, link: &Path) -> bool {
        let number = link.file_name().unwrap_or_default();
        let info = fs::read_to_string(self.dir.join("fdinfo").join(number)).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        // O_WRONLY or O_RDWR.
        flags.is_some_and(|flags| flags & 3 != 0)
    }

    /// The addresses at which it listens, among those of [`listening`].
    pub(crate) fn listens(&self, listening: &HashMap<String, SocketAddr>) -> Vec<SocketAddr> {
        let sockets = self.descriptors().into_iter().filter_map(|(_, to)| {
            let inode = to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
            listening.get(&inode).copied()
        });
        let mut addresses: Vec<SocketAddr> = sockets.collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}

/// The TCP sockets that listen in this network namespace, by their inodes, each with an address at which this host
/// reaches it.
pub(crate) fn listening() -> HashMap<String, SocketAddr> {
    let mut found = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(socket));
    }
    found
}

/// The inode and address in a line of /proc/net/tcp, if it listens.
fn socket(line: &str) -> Option<(String, SocketAddr)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != LISTEN {
        return None;
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(((*fields.get(9)?).to_owned(), SocketAddr::new(reached_at(address)?, port)))
}

/// The address in hexadecimal, whose words of four bytes have this host's order; for every address that of loopback.
fn reached_at(hexadecimal: &str) -> Option<IpAddr> {
    let words = (0..hexadecimal.len()).step_by(8).map(|at| hexadecimal.get(at..at + 8));
    let words: Option<Vec<u8>> =
        words.map(|word| u32::from_str_radix(word?, 16).ok()).try_fold(Vec::new(), |mut bytes, word| {
            bytes.extend(word?.to_ne_bytes());
            Some(bytes)
        });
    let words = words?;
    let address = match <[u8; 4]>::try_from(words.as_slice()) {
        Ok(four) => IpAddr::from(four),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).to_canonical(),
    };
    Some(if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    fn this_process() -> RunningProcess {
        let pid = std::process::id().to_string();
        processes().into_iter().find(|process| process.dir.ends_with(&pid)).expect("this process runs")
    }

    #[test]
    fn a_process_that_listens_is_found_with_its_address() {
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).unwrap());
        let any = TcpListener::bind("0.0.0.0:0").unwrap();
        let found = this_process().listens(&listening());
        for socket in &sockets {
            assert!(found.contains(&socket.local_addr().unwrap()), "{found:?} {socket:?}");
        }
        let port = any.local_addr().unwrap().port();
        assert!(found.contains(&SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)), "{found:?} {any:?}");
    }

    #[test]
    fn only_files_that_are_open_for_writing_count() {
        let dir = tempfile::tempdir().unwrap();
        let written = dir.path().join("written.log");
        let mut file = fs::File::create(&written).unwrap();
        file.write_all(b"a line\n").unwrap();
        fs::write(dir.path().join("read.log"), "a line\n").unwrap();
        let _read = fs::File::open(dir.path().join("read.log")).unwrap();
        let found = this_process().written_below(dir.path());
        assert_eq!(found.into_iter().map(|(_, path)| path).collect::<Vec<_>>(), [written]);
    }

    #[test]
    fn arguments_are_those_of_the_process() {
        assert_eq!(this_process().arguments(), std::env::args().collect::<Vec<_>>());
    }
}
