//! Sockets that listen: bound by ourselves, or by systemd and passed to us. The file of a unix socket goes
//! with the listener that made it, and with no other.

use std::collections::BTreeSet;
use std::io::ErrorKind::AddrNotAvailable;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};
use tracing::warn;

use crate::daemon::listen::ListenAddress;
use crate::daemon::passed::Passed;

use super::config::Settings;

/// A passed socket of this name is the admin listener.
const ADMIN: &str = "admin";

/// Connections that the kernel keeps until they are accepted (listen(2)).
const BACKLOG: u32 = 1024;

/// The listeners of a relay, bound and not yet serving.
#[derive(Default)]
pub struct Bound {
    pub(super) public: Vec<Listener>,
    pub(super) admin: Vec<Listener>,
}

impl Bound {
    /// What was passed: the socket named `admin` is for operators, all others are for hosts and clients.
    ///
    /// # Errors
    /// When one of them is nothing that can be served.
    pub fn passed(sockets: Vec<Passed>) -> Result<Bound> {
        let mut bound = Bound::default();
        for passed in sockets {
            let name = passed.name.clone();
            let listener =
                Listener::passed(passed).with_context(|| format!("the socket {name} of systemd"))?;
            if name == ADMIN {
                ensure!(
                    !listener.is_open_to_others(),
                    "the socket {name} of systemd is at {}: it must be a loopback address or a unix socket, it needs no password",
                    listener.address()
                );
                bound.admin.push(listener);
            } else {
                bound.public.push(listener);
            }
        }
        Ok(bound)
    }

    /// Binds the configured addresses of what was not passed.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub async fn and_bind(mut self, settings: &Settings) -> Result<Bound> {
        if self.public.is_empty() {
            self.public = Listener::bind(&settings.listen).await?;
        }
        if let (true, Some(address)) = (self.admin.is_empty(), &settings.admin) {
            self.admin = Listener::bind(std::slice::from_ref(address)).await?;
        }
        Ok(self)
    }
}

/// A socket that listens.
pub struct Listener {
    socket: Listening,
    /// Its name, if it came from systemd.
    passed: Option<String>,
    /// What is ours to remove.
    _file: Option<SocketFile>,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Removes a unix socket's file when it is dropped.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have cleaned up before us.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `[::]` takes IPv4, too, unless an IPv4 address with its port is listed beside it.
fn bind_tcp(address: SocketAddr, all: &BTreeSet<SocketAddr>) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let has_ipv4_beside = all.iter().any(|other| other.is_ipv4() && other.port() == address.port());
    if address.is_ipv6() && has_ipv4_beside {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    // A relay that restarts finds its port free although old connections still linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection that was accepted.
pub enum Accepted {
    /// With the address it comes from.
    Tcp(TcpStream, IpAddr),
    /// From this machine.
    Unix(UnixStream),
}

impl Accepted {
    /// Where it comes from, if that can be known.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Accepted::Tcp(_, from) => Some(*from),
            Accepted::Unix(_) => None,
        }
    }
}

impl Listener {
    /// Binds every one of the addresses; of a name, every address that it has here.
    async fn bind(addresses: &[ListenAddress]) -> Result<Vec<Listener>> {
        let mut bound = Vec::new();
        let mut tcp = BTreeSet::new();
        for address in addresses {
            let listen = || format!("listen at {address}");
            match address {
                ListenAddress::Tcp(address) => tcp.extend(lookup_host(address).await.with_context(listen)?),
                ListenAddress::Unix(path) => {
                    bound.push(Listener::bind_unix(path).await.with_context(listen)?)
                }
            }
        }
        for address in &tcp {
            match bind_tcp(*address, &tcp) {
                Ok(socket) => {
                    bound.push(Listener { socket: Listening::Tcp(socket), passed: None, _file: None })
                }
                // `localhost` has two addresses in most hosts files, also where one family is turned off.
                Err(error)
                    if error.kind() == AddrNotAvailable && tcp.len() > 1 && address.ip().is_loopback() =>
                {
                    warn!("not listening at {address}: {error}");
                }
                Err(error) => return Err(error).with_context(|| format!("listen at {address}")),
            }
        }
        ensure!(!bound.is_empty(), "none of the addresses to listen at is an address of this machine");
        Ok(bound)
    }

    async fn bind_unix(path: &Path) -> std::io::Result<Listener> {
        // A socket that a killed relay left behind answers nobody. Nothing else is removed.
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if is_socket && UnixStream::connect(path).await.is_err() {
            let _ = std::fs::remove_file(path);
        }
        let socket = Listening::Unix(UnixListener::bind(path)?);
        Ok(Listener { socket, passed: None, _file: Some(SocketFile(path.to_owned())) })
    }

    /// Opens no other socket: the unit may have no network of its own.
    fn passed(Passed { name, socket }: Passed) -> Result<Listener> {
        const EXPECTED: &str = "expected a listening stream socket, TCP or unix (ListenStream=)";
        let socket = Socket::from(socket);
        let domain = socket.domain().context(EXPECTED)?;
        let kind = match (domain, socket.r#type()?) {
            (Domain::IPV4 | Domain::IPV6 | Domain::UNIX, Type::STREAM) => domain,
            (_, Type::DGRAM) => anyhow::bail!("is a datagram socket, {EXPECTED}"),
            _ => anyhow::bail!("is a socket of another kind, {EXPECTED}"),
        };
        ensure!(socket.is_listener()?, "does not listen (Accept=yes?), {EXPECTED}");
        socket.set_nonblocking(true)?;
        let socket = match kind {
            Domain::UNIX => Listening::Unix(UnixListener::from_std(socket.into())?),
            _ => Listening::Tcp(TcpListener::from_std(socket.into())?),
        };
        Ok(Listener { socket, passed: Some(name), _file: None })
    }

    /// Its name, if it came from systemd.
    pub fn name(&self) -> Option<&str> {
        self.passed.as_deref()
    }

    /// The address as it really is, for the log: with the port that the system chose.
    pub fn address(&self) -> String {
        match &self.socket {
            Listening::Tcp(_) => self.tcp().map_or_else(|| "?".into(), |at| at.to_string()),
            Listening::Unix(listener) => {
                let at = listener.local_addr().ok();
                let path = at.as_ref().and_then(|at| at.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("(abstract)")).display())
            }
        }
    }

    /// Whether other machines may reach it.
    pub fn is_open_to_others(&self) -> bool {
        matches!(self.socket, Listening::Tcp(_))
            && self.tcp().is_none_or(|at| !at.ip().to_canonical().is_loopback())
    }

    fn tcp(&self) -> Option<SocketAddr> {
        match &self.socket {
            Listening::Tcp(listener) => listener.local_addr().ok(),
            Listening::Unix(_) => None,
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> std::io::Result<Accepted> {
        match &self.socket {
            Listening::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, address.ip()))
            }
            Listening::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net as unix;

    use super::*;

    fn bound(name: &str, socket: impl Into<OwnedFd>) -> Result<Bound> {
        Bound::passed(vec![Passed { name: name.into(), socket: socket.into() }])
    }

    fn refusal(name: &str, socket: impl Into<OwnedFd>) -> String {
        format!("{:#}", bound(name, socket).err().unwrap())
    }

    #[tokio::test]
    async fn what_does_not_listen_for_streams_is_refused_by_name() {
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let said = refusal("public", datagrams);
        assert!(said.starts_with("the socket public of systemd: is a datagram socket, "), "{said}");
        let (connected, _other) = unix::UnixStream::pair().unwrap();
        assert!(refusal("public", connected).contains("does not listen (Accept=yes?)"));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(
            refusal("x", file).contains("expected a listening stream socket, TCP or unix (ListenStream=)")
        );
        let packets = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        assert!(refusal("x", packets).contains("is a socket of another kind"));
        let open = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        assert!(refusal("admin", open.try_clone().unwrap()).contains("it needs no password"));
        assert!(bound("public", open).unwrap().public[0].is_open_to_others());
    }

    #[tokio::test]
    async fn a_passed_unix_sockets_file_stays_and_our_own_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        let passed = bound("admin", unix::UnixListener::bind(&theirs).unwrap()).unwrap();
        assert_eq!(passed.admin[0].address(), format!("unix:{}", theirs.display()));
        assert_eq!(passed.admin[0].name(), Some("admin"));
        assert!(passed.public.is_empty() && !passed.admin[0].is_open_to_others());
        let bound = Listener::bind(&[ListenAddress::Unix(ours.clone())]).await.unwrap();
        assert!(ours.exists() && bound[0].name().is_none());
        drop((passed, bound));
        assert!(theirs.exists() && !ours.exists());
    }
}
