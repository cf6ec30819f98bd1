//! From an accepted connection to a socket that HTTP can be spoken on, with TLS or without.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use net::socket::Socket;

use super::listener::Accepted;

/// Data that the other side does not acknowledge for this long end a connection, also after it was closed: else its
/// kernel buffers would stay for minutes (tcp(7), TCP_USER_TIMEOUT). The code that takes the connection over may undo it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection was gone before anything was read.
    #[error("ended at once: {0}")]
    Gone(io::Error),
    /// The client sent no TLS, or does not accept what the server offers.
    #[error("failed: {0}")]
    Handshake(io::Error),
    /// The TLS handshake took too long.
    #[error("took longer than {0:?}")]
    Timeout(Duration),
}

/// Sets the connection's options, and takes TLS over TCP if there is a configuration, within `limit`. What comes over
/// a unix socket is from this machine, and never encrypted.
///
/// # Errors
/// Any of [`Error`].
pub async fn accept(
    accepted: Accepted,
    tls: Option<Arc<ServerConfig>>,
    limit: Duration,
) -> Result<Socket, Error> {
    let stream = match accepted {
        Accepted::Unix(stream) => return Ok(Socket::Unix(stream)),
        Accepted::Tcp(stream, _) => stream,
    };
    stream.set_nodelay(true).map_err(Error::Gone)?;
    let plain = Socket::Tcp(stream);
    plain.give_up_after(Some(UNACKNOWLEDGED));
    match (tls, plain) {
        (Some(config), Socket::Tcp(stream)) => {
            let accepted = timeout(limit, TlsAcceptor::from(config).accept(stream)).await;
            let stream = accepted.map_err(|_| Error::Timeout(limit))?.map_err(Error::Handshake)?;
            Ok(Socket::Tls(Box::new(stream.into())))
        }
        (_, plain) => Ok(plain),
    }
}
