//! One type for the connections that carry websockets: plain TCP, TLS, or a unix socket behind a proxy.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::protocol::profile::Profile;

/// A connection, encrypted or not.
#[derive(Debug)]
pub enum Socket {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP, from either end.
    Tls(Box<TlsStream<TcpStream>>),
    /// From this machine.
    Unix(UnixStream),
}

/// What an interactive stream may have in a kernel's receive buffer, in bytes: at 20 Mbit/s it is 26 ms old, and
/// a way of 50 ms there and back carries 10 Mbit/s. The kernel's own limit is 32 MiB on some systems.
const INTERACTIVE_RECEIVE: usize = 64 * 1024;

/// The same for what comes from a local target: that way is short.
const LOCAL_RECEIVE: usize = 16 * 1024;

/// What it may have waiting in a kernel's send buffer behind what is under way (tcp(7), TCP_NOTSENT_LOWAT).
const INTERACTIVE_UNSENT: u32 = 16 * 1024;

/// Segments that a local target is asked for, in bytes, as on any Ethernet. Loopback's own are 64 KiB, and what a
/// sender's kernel queues is counted in segments: 2 MB of screen for a client that takes none.
const INTERACTIVE_SEGMENT: u32 = 1448;

impl Socket {
    /// Makes the connection fit for a stream of this profile.
    pub fn suit(&self, profile: Profile) {
        if let Some(tcp) = self.tcp() {
            suit(tcp, profile, INTERACTIVE_RECEIVE);
        }
    }

    /// Has the kernel give the connection up when what was sent is not acknowledged for this long, also after it was
    /// closed (tcp(7), TCP_USER_TIMEOUT). `None`: after minutes, as is usual.
    pub fn give_up_after(&self, limit: Option<Duration>) {
        let Some(tcp) = self.tcp() else { return };
        if let Err(error) = SockRef::from(tcp).set_tcp_user_timeout(limit) {
            tracing::debug!("time limit of a connection: {error}");
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Socket::Tcp(tcp) => Some(tcp),
            Socket::Tls(tls) => Some(tls.get_ref().0),
            Socket::Unix(_) => None,
        }
    }
}

/// Connects to something local whose bytes are for a stream of this profile.
///
/// # Errors
/// Those of the system.
pub async fn connect(address: SocketAddr, profile: Profile) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if profile == Profile::Interactive
        && let Err(error) = SockRef::from(&socket).set_tcp_mss(INTERACTIVE_SEGMENT)
    {
        tracing::debug!("segments of a connection: {error}");
    }
    let stream = socket.connect(address).await?;
    suit(&stream, profile, LOCAL_RECEIVE);
    Ok(stream)
}

/// A stream with the wrong buffers is better than none, so errors are only logged.
fn suit(tcp: &TcpStream, profile: Profile, receive: usize) {
    if profile == Profile::Bulk {
        // The kernel's own tuning is made for this.
        return;
    }
    let socket = SockRef::from(tcp);
    // The first alone does nothing against what the sender piles up, the second nothing against the receiver.
    let set =
        socket.set_recv_buffer_size(receive).and_then(|()| socket.set_tcp_notsent_lowat(INTERACTIVE_UNSENT));
    if let Err(error) = set {
        tracing::debug!("buffers of a connection: {error}");
    }
}

macro_rules! forward {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Tcp($socket) => $call,
            Socket::Tls($socket) => $call,
            Socket::Unix($socket) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, socket => Pin::new(socket).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, socket => Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, socket => Pin::new(socket).poll_shutdown(cx))
    }
}
