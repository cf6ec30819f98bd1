//! One type for the connections that carry websockets: plain TCP, TLS, or a unix socket behind a proxy.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use protocol::profile::Profile;

/// A connection with or without TLS.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    /// As client or server.
    Tls(Box<TlsStream<TcpStream>>),
    /// From a proxy on this machine.
    Unix(UnixStream),
}

/// The receive buffer of an interactive stream, in bytes. At 20 Mbit/s its contents are up to 26 ms old, and a path with
/// a round trip of 50 ms carries 10 Mbit/s. The kernel's own limit is 32 MiB on some systems.
const INTERACTIVE_RECEIVE: usize = 64 * 1024;

/// The receive buffer for a local target, whose path is short.
const LOCAL_RECEIVE: usize = 16 * 1024;

/// Bytes in the send buffer that are not sent yet (tcp(7), TCP_NOTSENT_LOWAT).
const INTERACTIVE_UNSENT: u32 = 16 * 1024;

/// The segment size for a local target, in bytes, as on Ethernet. Loopback's own is 64 KiB, and the sender's kernel
/// counts its queue in segments: that would be 2 MB of screen for a client that reads nothing.
const INTERACTIVE_SEGMENT: u32 = 1448;

/// A silent connection is probed after 30 s, then every 10 s.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

impl Socket {
    /// Sets the buffers for a stream of this profile.
    pub fn apply_profile(&self, profile: Profile) {
        if let Some(tcp) = self.tcp() {
            apply_profile(tcp, profile, INTERACTIVE_RECEIVE);
        }
    }

    /// Lets the kernel drop the connection if sent bytes are not acknowledged for this long, even after it was closed
    /// (tcp(7), TCP_USER_TIMEOUT). With `None`, the kernel waits for minutes.
    pub fn give_up_after(&self, limit: Option<Duration>) {
        let Some(tcp) = self.tcp() else { return };
        if let Err(error) = SockRef::from(tcp).set_tcp_user_timeout(limit) {
            tracing::debug!("time limit of a connection: {error}");
        }
    }

    /// Lets the kernel end the connection if its other side is gone, or takes nothing for this long: for a peer that
    /// answers no pings.
    pub fn expect_life(&self, limit: Duration) {
        self.give_up_after(Some(limit));
        let Some(tcp) = self.tcp() else { return };
        if let Err(error) = SockRef::from(tcp).set_tcp_keepalive(&KEEPALIVE) {
            tracing::debug!("keepalive of a connection: {error}");
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

/// Connects to a local target, for a stream of this profile.
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
    apply_profile(&stream, profile, LOCAL_RECEIVE);
    Ok(stream)
}

/// Errors are only logged: a stream with other buffers is better than none.
fn apply_profile(tcp: &TcpStream, profile: Profile, receive: usize) {
    if profile == Profile::Bulk {
        // The kernel tunes its buffers for bulk.
        return;
    }
    let socket = SockRef::from(tcp);
    // One limits what waits at the receiver, the other what waits at the sender.
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
