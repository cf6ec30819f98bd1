//! Where `open --listen` accepts local connections: a TCP port, or a unix socket that only its user can connect to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use service::listen::ListenAddress;

use super::peer_watch::{PeerWatch, is_of_this_user};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Only the user.
const OWNER_ONLY: Mode = Mode::from_bits_truncate(0o600);

/// A silent connection is probed after 30 s, then every 10 s, and given up after 3 probes. So a machine that was
/// switched off holds its stream for at most a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

pub(crate) enum Acceptor {
    /// Anyone who reaches the port may connect.
    Tcp(TcpListener),
    /// A port of loopback for programs of the same user.
    Own(TcpListener),
    /// Only programs of the same user may connect.
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket. Dropping it removes the file.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it before.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Acceptor {
    /// # Errors
    /// Those of the system.
    pub(crate) async fn bind(address: &ListenAddress) -> io::Result<Acceptor> {
        match address {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Acceptor::Tcp),
            ListenAddress::Unix(path) => {
                // A killed program leaves a socket behind that nothing answers. Nothing else is removed.
                let is_socket =
                    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
                if is_socket && UnixStream::connect(path).await.is_err() {
                    std::fs::remove_file(path)?;
                }
                bind_unix(path)
            }
        }
    }

    /// A free port of loopback that only programs of this user can use.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) async fn bind_own() -> io::Result<Acceptor> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map(Acceptor::Own)
    }

    /// The address to connect to, with the port that was picked for port 0.
    pub(crate) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Acceptor::Tcp(listener) | Acceptor::Own(listener) => listener.local_addr()?.to_string(),
            Acceptor::Unix(_, file) => ListenAddress::Unix(file.0.clone()).to_string(),
        })
    }

    /// Whether other machines may reach it.
    pub(crate) fn is_open_to_others(&self) -> io::Result<bool> {
        match self {
            Acceptor::Tcp(listener) => Ok(!listener.local_addr()?.ip().is_loopback()),
            Acceptor::Own(_) | Acceptor::Unix(..) => Ok(false),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<LocalConnection> {
        match self {
            Acceptor::Tcp(listener) | Acceptor::Own(listener) => {
                let (stream, peer) = listener.accept().await?;
                if matches!(self, Acceptor::Own(_)) && !is_of_this_user(peer, stream.local_addr()?) {
                    return Err(io::Error::other("a program of another user was refused"));
                }
                stream.set_nodelay(true)?;
                SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
                let ends = Some((peer, stream.local_addr()?));
                Ok(LocalConnection::new(stream.as_fd().try_clone_to_owned()?, ends, stream))
            }
            Acceptor::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(LocalConnection::new(stream.as_fd().try_clone_to_owned()?, None, stream))
            }
        }
    }
}

/// Sets the mode before the bind, so that the file has it from the start: it gets the mode of the socket.
fn bind_unix(path: &Path) -> io::Result<Acceptor> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    fchmod(&socket, OWNER_ONLY)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile(path.to_owned());
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Acceptor::Unix(UnixListener::from_std(socket.into())?, file))
}

/// A connection from a local program.
pub(crate) struct LocalConnection {
    pub input: Box<dyn AsyncRead + Send + Unpin>,
    pub output: Box<dyn AsyncWrite + Send + Unpin>,
    /// Whether the program still has its end open.
    pub peer: PeerWatch,
}

impl LocalConnection {
    fn new(
        socket: OwnedFd,
        ends: Option<(SocketAddr, SocketAddr)>,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
    ) -> LocalConnection {
        // Dropping one half sends nothing: how the stream ended decides whether the program sees an end or a reset.
        let (input, output) = tokio::io::split(stream);
        LocalConnection {
            input: Box::new(input),
            output: Box::new(output),
            peer: PeerWatch::new(socket, ends),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    async fn bound(address: &str) -> Acceptor {
        Acceptor::bind(&address.parse().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_program_that_only_stops_sending_is_still_there() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let acceptor = bound(address).await;
            let Acceptor::Tcp(listener) = &acceptor else { panic!() };
            let port = listener.local_addr().unwrap().port();
            let hosts = if address == "[::1]:0" { &["::1"][..] } else { &["127.0.0.1"] };
            for host in hosts {
                let mut program = TcpStream::connect((*host, port)).await.unwrap();
                let mut connection = acceptor.accept().await.unwrap();
                program.shutdown().await.unwrap();
                assert_eq!(connection.input.read(&mut [0]).await.unwrap(), 0);
                assert!(!connection.peer.is_closed(), "{address} {host}");
                drop(program);
                timeout(SOON, connection.peer.closed()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_port_of_ones_own_takes_programs_of_the_same_user() {
        let acceptor = Acceptor::bind_own().await.unwrap();
        let address: SocketAddr = acceptor.address().unwrap().parse().unwrap();
        let (program, accepted) = tokio::join!(TcpStream::connect(address), acceptor.accept());
        assert!(program.is_ok() && accepted.is_ok());
        // A connection that the kernel does not list, as one of another machine.
        assert!(!is_of_this_user(([127, 0, 0, 9], 1).into(), address));
    }

    #[tokio::test]
    async fn a_unix_socket_belongs_to_its_user_and_is_removed_with_the_acceptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let address = format!("unix:{}", path.display());
        let acceptor = bound(&address).await;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(acceptor.address().unwrap(), address);
        let mut program = UnixStream::connect(&path).await.unwrap();
        let mut connection = acceptor.accept().await.unwrap();
        program.shutdown().await.unwrap();
        assert_eq!(connection.input.read(&mut [0]).await.unwrap(), 0);
        assert!(!connection.peer.is_closed());
        drop(program);
        timeout(SOON, connection.peer.closed()).await.unwrap();
        assert!(Acceptor::bind(&address.parse().unwrap()).await.is_err(), "it is in use");
        drop(acceptor);
        assert!(!path.exists());
        // A socket that was left behind is replaced.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        bound(&address).await;
    }
}
