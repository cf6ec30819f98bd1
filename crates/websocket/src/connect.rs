//! The first step of a dial: from a host's name to one TCP connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use net::{Failed, list, race};

use super::error::DialError;

/// Looks up the addresses of a host.
///
/// # Errors
/// [`DialError::Reach`].
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    look_up(host, port, &format!("name lookup of {host}")).await
}

/// The same, with other words for the step.
pub(super) async fn look_up(host: &str, port: u16, step: &str) -> Result<Vec<SocketAddr>, DialError> {
    net::look_up(host, port).await.map_err(|error| DialError::Reach(format!("{step}: {error}")))
}

/// Connects to whichever of the addresses answers first.
///
/// # Errors
/// [`DialError::Reach`] with what each of them said.
pub async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    connect_first(addresses).await.map_err(|failed| DialError::Reach(list(&failed)))
}

/// The same, for those who choose their own words.
pub(super) async fn connect_first(addresses: &[SocketAddr]) -> Result<TcpStream, Vec<Failed>> {
    race(addresses, |address| async move {
        let stream = TcpStream::connect(address).await?;
        // A small write must not wait for the answer to the one before it.
        stream.set_nodelay(true)?;
        Ok(stream)
    })
    .await
}
