//! Sockets that listen: bound by ourselves, or by systemd and passed to us. The file of a unix socket goes
//! with the listener that made it, and with no other.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};
use tracing::warn;

use service::listen::ListenAddress;
use service::passed::Passed;

/// Connections that the kernel keeps until they are accepted (listen(2)).
const BACKLOG: u32 = 1024;

/// A socket that listens, TCP or unix.
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
    // A program that restarts finds its port free although old connections still linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Why [`Listener::bind`] bound nothing.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// One address cannot be listened at.
    #[error("cannot listen at {address}: {error}")]
    Address {
        /// As it is written, or one that its name has.
        address: String,
        error: std::io::Error,
    },
    /// Each address was left out.
    #[error("none of the addresses is an address of this machine")]
    NoneIsHere,
}

/// A connection that was accepted.
pub enum Accepted {
    /// With the address it comes from.
    Tcp(TcpStream, IpAddr),
    /// It has no address, and comes from this machine.
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
    ///
    /// # Errors
    /// The first address that cannot be bound, or that none of them is here.
    pub async fn bind(addresses: &[ListenAddress]) -> Result<Vec<Listener>, BindError> {
        let mut bound = Vec::new();
        let mut tcp = BTreeSet::new();
        for address in addresses {
            let failed = |error| BindError::Address { address: address.to_string(), error };
            match address {
                ListenAddress::Tcp(address) => tcp.extend(lookup_host(address).await.map_err(failed)?),
                ListenAddress::Unix(path) => bound.push(Listener::bind_unix(path).await.map_err(failed)?),
            }
        }
        for address in &tcp {
            match bind_tcp(*address, &tcp) {
                Ok(socket) => {
                    bound.push(Listener { socket: Listening::Tcp(socket), passed: None, _file: None })
                }
                // `localhost` has two addresses in most hosts files, also where one family is turned off.
                Err(error)
                    if error.kind() == ErrorKind::AddrNotAvailable
                        && tcp.len() > 1
                        && address.ip().is_loopback() =>
                {
                    warn!("not listening at {address}: {error}");
                }
                Err(error) => return Err(BindError::Address { address: address.to_string(), error }),
            }
        }
        if bound.is_empty() { Err(BindError::NoneIsHere) } else { Ok(bound) }
    }

    async fn bind_unix(path: &Path) -> std::io::Result<Listener> {
        // A socket that a killed program left behind answers nobody. Nothing else is removed.
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if is_socket && UnixStream::connect(path).await.is_err() {
            let _ = std::fs::remove_file(path);
        }
        let socket = Listening::Unix(UnixListener::bind(path)?);
        Ok(Listener { socket, passed: None, _file: Some(SocketFile(path.to_owned())) })
    }

    /// Takes a socket of systemd. Opens no other: the unit may have no network of its own.
    ///
    /// # Errors
    /// When it is nothing that can be served.
    pub fn from_passed(Passed { name, socket }: Passed) -> Result<Listener> {
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
    ///
    /// # Errors
    /// Those of accept(2). Some of them come again at once, so pause before the next call.
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
    use super::*;

    #[tokio::test]
    async fn a_passed_unix_sockets_file_stays_and_our_own_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        let socket = std::os::unix::net::UnixListener::bind(&theirs).unwrap();
        let passed = Listener::from_passed(Passed { name: "admin".into(), socket: socket.into() }).unwrap();
        assert_eq!(passed.address(), format!("unix:{}", theirs.display()));
        assert_eq!(passed.name(), Some("admin"));
        assert!(!passed.is_open_to_others());
        let bound = Listener::bind(&[ListenAddress::Unix(ours.clone())]).await.unwrap();
        assert!(ours.exists() && bound[0].name().is_none());
        drop((passed, bound));
        assert!(theirs.exists() && !ours.exists());
    }
}
