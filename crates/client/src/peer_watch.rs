//! Whether a local program still has its end of a connection open. One that stops sending may go on reading, and over
//! TCP nothing on the wire distinguishes it from one that has closed its socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;
use tokio::time::sleep;

use net::backoff::Backoff;

/// The pauses between two checks of a program that stopped sending.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Watches the other end of one connection.
pub(crate) struct PeerWatch {
    socket: OwnedFd,
    /// The program's address and ours, of a TCP connection.
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl fmt::Debug for PeerWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerWatch({:?})", self.ends)
    }
}

impl PeerWatch {
    pub(crate) fn new(socket: OwnedFd, ends: Option<(SocketAddr, SocketAddr)>) -> PeerWatch {
        PeerWatch { socket, ends }
    }

    /// Resolves when a program that stopped sending has closed its socket.
    pub(crate) async fn closed(&self) {
        let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        while !self.is_closed() {
            sleep(pauses.wait()).await;
        }
    }

    /// Lets the close of the connection be a reset, so that the program does not take what it received for all that
    /// there is. Unix sockets have no reset.
    pub(crate) fn reset_on_close(&self) {
        // Fails only if the program is gone.
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    pub(crate) fn is_closed(&self) -> bool {
        is_hung_up(self.socket.as_fd())
            || self.ends.is_some_and(|(theirs, ours)| is_closed_here(theirs, ours))
    }
}

/// Whether nothing that is written to the descriptor can arrive any more.
pub(crate) fn is_hung_up(descriptor: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(descriptor, PollFlags::empty())];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Whether the other end, if it is on this machine, is missing in the kernel's list of sockets (proc_net_tcp(5)).
/// The end of a connection from another machine shows by keepalive, after a while.
fn is_closed_here(theirs: SocketAddr, ours: SocketAddr) -> bool {
    let is_local = theirs.ip().to_canonical().is_loopback() || theirs.ip() == ours.ip();
    let lists =
        [("/proc/net/tcp", pair(theirs, ours, hex_v4)), ("/proc/net/tcp6", pair(theirs, ours, hex_v6))];
    is_local
        && lists.into_iter().all(|(list, pair)| {
            let Some(pair) = pair else { return true };
            // A list that cannot be read proves nothing.
            std::fs::read_to_string(list).is_ok_and(|list| !is_held(&list, &pair))
        })
}

/// Whether a program of this user holds the other end of a connection of loopback.
pub(crate) fn is_of_this_user(theirs: SocketAddr, ours: SocketAddr) -> bool {
    const UID: usize = 7;
    let Some(pair) = pair(theirs, ours, hex_v4) else { return false };
    let list = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let line = list.lines().find(|line| line.contains(&pair));
    let uid = line.and_then(|line| line.split_whitespace().nth(UID)?.parse().ok());
    uid.is_some_and(|uid: u32| uid == nix::unistd::Uid::effective().as_raw())
}

/// Both addresses as a line of the list has them. None if they are of another family than the list.
fn pair(theirs: SocketAddr, ours: SocketAddr, hex: fn(IpAddr) -> Option<String>) -> Option<String> {
    let one = |end: SocketAddr| Some(format!("{}:{:04X}", hex(end.ip())?, end.port()));
    Some(format!("{} {}", one(theirs)?, one(ours)?))
}

fn hex_v4(ip: IpAddr) -> Option<String> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Some(hex_words(&ip.octets())),
        IpAddr::V6(_) => None,
    }
}

fn hex_v6(ip: IpAddr) -> Option<String> {
    Some(match ip {
        IpAddr::V4(ip) => hex_words(&ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => hex_words(&ip.octets()),
    })
}

/// The kernel prints addresses as 32-bit words in the machine's byte order.
fn hex_words(octets: &[u8]) -> String {
    let words = octets.as_chunks::<4>().0.iter();
    words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
}

/// Whether a program has the socket with these addresses. A socket that only the kernel still keeps has inode 0.
fn is_held(list: &str, pair: &str) -> bool {
    const INODE: usize = 9;
    let line = list.lines().find(|line| line.contains(pair));
    line.and_then(|line| line.split_whitespace().nth(INODE)).is_some_and(|inode| inode != "0")
}
