//! Checks paths of unix sockets, and connects to them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;

use super::opened::{OpenError, Opened};
use super::paths::resolve;
use super::shared::Shared;
use super::tasks::spawn_blocking;
use crate::support::value::{TargetConfigError, absolute_file};

/// Pause before the next attempt if a listener's queue is full; `open_timeout` ends the attempts. connect(2) on a
/// non-blocking unix socket does not wait, but returns EAGAIN.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(50);

/// The longest path of a socket in bytes: `sun_path` without its final NUL (unix(7)).
const MAX_PATH: usize = 107;

/// Checks that a path can be a socket's.
pub(crate) fn socket_path(key: &str, path: PathBuf) -> Result<PathBuf, TargetConfigError> {
    let path = absolute_file(key, path)?;
    match path.as_os_str().len() {
        0..=MAX_PATH => Ok(path),
        long => Err(TargetConfigError::at(
            key,
            format!("has {long} bytes, the system allows {MAX_PATH} for a socket"),
        )),
    }
}

/// Connects to the socket that [`resolve`] finds, and waits for its turn if the queue is full.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let path = path.to_owned();
    let found = spawn_blocking(move || resolve(&path)).await.map_err(io::Error::other)??;
    let path = found.by_descriptor();
    loop {
        match UnixStream::connect(&path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(QUEUE_FULL_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// A connected socket as a target with input and output.
pub(crate) fn both_ways(stream: UnixStream, shared: &Shared) -> Result<Opened, OpenError> {
    if shared.passes_sockets() {
        return passed(stream.into_std().map(OwnedFd::from));
    }
    let (output, input) = stream.into_split();
    Ok(Opened { input: Some(Box::new(input)), half_close: true, ..Opened::read_only(output) })
}

/// A connected socket that another process reads and writes.
pub(crate) fn passed(socket: io::Result<OwnedFd>) -> Result<Opened, OpenError> {
    let socket = socket.map_err(|error| OpenError::system("passing a socket on", error))?;
    Ok(Opened { half_close: true, socket: Some(socket), ..Opened::read_only(tokio::io::empty()) })
}
