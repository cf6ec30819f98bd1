//! Where `open --listen` accepts local connections: a port, or a unix socket that only its user can connect to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::sleep;

use crate::daemon::listen::ListenAddress;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Only the user.
const OWN: Mode = Mode::from_bits_truncate(0o600);

/// When a silent local connection is asked whether it is still there, how often, and how many times: a machine that
/// was switched off holds no stream for longer than a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// The first pause between two looks at a local program that sends no more, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Accepts local connections.
pub enum Door {
    /// Whoever reaches the port.
    Tcp(TcpListener),
    /// The user's own programs.
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket; goes with the door.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it before.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Door {
    /// Binds it.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn bind(address: &ListenAddress) -> io::Result<Door> {
        match address {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Door::Tcp),
            ListenAddress::Unix(path) => {
                // A socket that a killed program left behind answers nobody. Nothing else is removed.
                let is_socket =
                    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
                if is_socket && UnixStream::connect(path).await.is_err() {
                    std::fs::remove_file(path)?;
                }
                bind_own(path)
            }
        }
    }

    /// Where it is.
    pub fn address(&self) -> io::Result<String> {
        Ok(match self {
            Door::Tcp(listener) => listener.local_addr()?.to_string(),
            Door::Unix(_, file) => ListenAddress::Unix(file.0.clone()).to_string(),
        })
    }

    /// Whether others than this machine's users may reach it.
    pub fn is_open_to_others(&self) -> io::Result<bool> {
        match self {
            Door::Tcp(listener) => Ok(!listener.local_addr()?.ip().is_loopback()),
            Door::Unix(..) => Ok(false),
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Visitor> {
        match self {
            Door::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
                let ends = Some((peer, stream.local_addr()?));
                Ok(Visitor::new(stream.as_fd().try_clone_to_owned()?, ends, stream))
            }
            Door::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Visitor::new(stream.as_fd().try_clone_to_owned()?, None, stream))
            }
        }
    }
}

/// Its mode is right before anybody can connect: a socket's own mode is what its file gets.
fn bind_own(path: &Path) -> io::Result<Door> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    fchmod(&socket, OWN)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile(path.to_owned());
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Door::Unix(UnixListener::from_std(socket.into())?, file))
}

/// A local connection.
pub struct Visitor {
    /// What the local program sends.
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    /// What it is sent.
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
    /// Whether it is still there.
    pub presence: Presence,
}

impl Visitor {
    fn new(
        socket: OwnedFd,
        ends: Option<(SocketAddr, SocketAddr)>,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
    ) -> Visitor {
        // Halves that are dropped say nothing to the program: how the stream ended decides what it is told.
        let (input, output) = tokio::io::split(stream);
        let presence = Presence { socket, ends };
        Visitor { input: Box::new(input), output: Box::new(output), presence }
    }
}

/// Whether a local program still has its end of a connection open. One that sends no more may go on reading, and
/// over TCP nothing on the wire tells it from one that has closed its socket.
pub struct Presence {
    socket: OwnedFd,
    /// The program's address and ours, of TCP.
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presence({:?})", self.ends)
    }
}

impl Presence {
    /// Resolves when a program that sends no more has closed its socket.
    pub async fn left(&self) {
        let mut pause = FIRST_LOOK;
        while !self.has_left() {
            sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// Resets the connection when it is closed, so that the program does not take what has come for the whole. A unix
    /// socket knows no reset.
    pub fn spoil(&self) {
        // One that is gone already needs none.
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    fn has_left(&self) -> bool {
        is_hung_up(self.socket.as_fd()) || self.ends.is_some_and(|(theirs, ours)| has_closed(theirs, ours))
    }
}

/// Whether nothing that is written to it can arrive any more.
pub fn is_hung_up(descriptor: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(descriptor, PollFlags::empty())];
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Looks for the other end of a connection within this machine in the kernel's list of sockets (proc_net_tcp(5)).
/// Of a connection from elsewhere, keepalive learns it after a while.
fn has_closed(theirs: SocketAddr, ours: SocketAddr) -> bool {
    let is_local = theirs.ip().to_canonical().is_loopback() || theirs.ip() == ours.ip();
    let (short, long) = (ends(theirs, ours, short), ends(theirs, ours, long));
    let lists = [("/proc/net/tcp", short), ("/proc/net/tcp6", long)];
    is_local
        && lists.into_iter().all(|(list, ends)| {
            // What cannot be read proves nothing.
            let Some(ends) = ends else { return true };
            std::fs::read_to_string(list).is_ok_and(|list| !is_held(&list, &ends))
        })
}

/// Both addresses as they stand in a line of the list; none where they are of another family.
fn ends(theirs: SocketAddr, ours: SocketAddr, form: fn(IpAddr) -> Option<String>) -> Option<String> {
    let one = |end: SocketAddr| Some(format!("{}:{:04X}", form(end.ip())?, end.port()));
    Some(format!("{} {}", one(theirs)?, one(ours)?))
}

fn short(ip: IpAddr) -> Option<String> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Some(words(&ip.octets())),
        IpAddr::V6(_) => None,
    }
}

fn long(ip: IpAddr) -> Option<String> {
    Some(match ip {
        IpAddr::V4(ip) => words(&ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    })
}

/// As the kernel writes addresses: words of the machine's own byte order.
fn words(octets: &[u8]) -> String {
    let words = octets.as_chunks::<4>().0.iter();
    words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
}

/// Whether a program has the socket with these ends: those that only the kernel still knows have no inode.
fn is_held(list: &str, ends: &str) -> bool {
    const INODE: usize = 9;
    let line = list.lines().find(|line| line.contains(ends));
    line.and_then(|line| line.split_whitespace().nth(INODE)).is_some_and(|inode| inode != "0")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    async fn at(address: &str) -> Door {
        Door::bind(&address.parse().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_program_that_only_sends_no_more_is_still_there() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let door = at(address).await;
            let Door::Tcp(listener) = &door else { panic!() };
            let port = listener.local_addr().unwrap().port();
            let hosts = if address == "[::1]:0" { &["::1"][..] } else { &["127.0.0.1"] };
            for host in hosts {
                let mut program = TcpStream::connect((*host, port)).await.unwrap();
                let mut visitor = door.accept().await.unwrap();
                program.shutdown().await.unwrap();
                assert_eq!(visitor.input.read(&mut [0]).await.unwrap(), 0);
                assert!(!visitor.presence.has_left(), "{address} {host}");
                drop(program);
                timeout(SOON, visitor.presence.left()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_unix_socket_is_its_users_and_goes_with_the_door() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let address = format!("unix:{}", path.display());
        let door = at(&address).await;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(door.address().unwrap(), address);
        let mut program = UnixStream::connect(&path).await.unwrap();
        let mut visitor = door.accept().await.unwrap();
        program.shutdown().await.unwrap();
        assert_eq!(visitor.input.read(&mut [0]).await.unwrap(), 0);
        assert!(!visitor.presence.has_left());
        drop(program);
        timeout(SOON, visitor.presence.left()).await.unwrap();
        assert!(Door::bind(&address.parse().unwrap()).await.is_err(), "somebody listens there");
        drop(door);
        assert!(!path.exists());
        // One that was left behind is in nobody's way.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        at(&address).await;
    }
}
