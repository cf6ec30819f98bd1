//! A unix socket: a VM's SPICE or VNC display, a serial console, a service's own socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::net::UnixStream;

use super::access::{Need, explain, find};
use super::config::{TargetConfigError, absolute_file};
use super::kind::{Connections, Open, Settings};
use super::opened::{OpenError, Opened, Opening, blocking};
use super::params::{ParamError, Params};
use super::sandbox::Wants;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

/// Pause before the next try at a listener whose queue is full; `open_timeout` ends the trying.
/// A unix socket does not wait in connect(2) when it is non-blocking, it says EAGAIN at once.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a socket's path at most: `sun_path` with its final NUL (unix(7)).
const MAX_PATH: usize = 107;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    path: PathBuf,
}

/// Checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unix {
    path: PathBuf,
}

impl Settings for Unix {
    const NAME: &'static str = "unix";
    /// QEMU's SPICE opens 8 connections, one per channel.
    const MAX_STREAMS: u32 = 8;
    const PROFILE: Profile = Profile::Interactive;
    type Raw = Raw;
    type Bound = Unix;

    fn check(raw: Raw) -> Result<Unix, TargetConfigError> {
        Ok(Unix { path: socket_path("path", raw.path)? })
    }

    fn connections(&self) -> Connections {
        Connections::Unknown
    }

    fn modes(&self) -> &'static [Mode] {
        &[Mode::Rw, Mode::Ro]
    }

    fn bind(&self, _params: &mut Params<'_>) -> Result<Unix, ParamError> {
        Ok(self.clone())
    }

    fn wants(&self) -> Vec<Wants> {
        vec![Wants::Path(self.path.clone(), Need::Connect)]
    }

    async fn probe(&self) -> Result<String, OpenError> {
        self.connect().await.map(|_| format!("connected to {} and closed", self.path.display()))
    }
}

impl Open for Unix {
    async fn open(&self, Opening { mode, .. }: Opening) -> Result<Opened, OpenError> {
        let stream = self.connect().await?;
        if mode == Mode::Ro {
            // The socket whole: a dropped write half would tell the target that its client left.
            return Ok(Opened::read_only(stream));
        }
        Ok(both_ways(stream))
    }
}

impl Unix {
    async fn connect(&self) -> Result<UnixStream, OpenError> {
        match connect(&self.path).await {
            Ok(stream) => Ok(stream),
            Err(error) => {
                let path = self.path.clone();
                blocking(move || Err(explain(&path, Need::Connect, &error))).await
            }
        }
    }
}

/// A path that the system can take for a socket's.
pub(super) fn socket_path(key: &str, path: PathBuf) -> Result<PathBuf, TargetConfigError> {
    let path = absolute_file(key, path)?;
    match path.as_os_str().len() {
        0..=MAX_PATH => Ok(path),
        long => Err(TargetConfigError::at(
            key,
            format!("has {long} bytes, the system allows {MAX_PATH} for a socket"),
        )),
    }
}

/// Connects to what the walk of [`find`] leads to, and waits for its turn where many want to connect at once.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let path = path.to_owned();
    let found = tokio::task::spawn_blocking(move || find(&path)).await.map_err(io::Error::other)??;
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

/// A connected socket, for reading and writing.
pub(super) fn both_ways(stream: UnixStream) -> Opened {
    let (output, input) = stream.into_split();
    Opened { input: Some(Box::new(input)), half_close: true, ..Opened::read_only(output) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::agent::target::testing::{in_time, target};
    use crate::protocol::end::End;

    #[tokio::test]
    async fn bytes_go_both_ways_and_each_way_ends_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let target = target(&format!("kind = 'unix'\npath = '{}'", path.display()));
        let opened = in_time(target.open(Mode::Rw, None)).await.unwrap();
        let (mut server, _) = in_time(listener.accept()).await.unwrap();
        let (mut output, mut input) = (opened.output, opened.input.unwrap());
        input.write_all(b"question").await.unwrap();
        input.shutdown().await.unwrap();
        let mut heard = String::new();
        in_time(server.read_to_string(&mut heard)).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut said = String::new();
        in_time(output.read_to_string(&mut said)).await.unwrap();
        assert_eq!((heard.as_str(), said.as_str()), ("question", "answer"));
    }

    #[tokio::test]
    async fn a_socket_that_nobody_serves_is_told_from_one_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let target = target(&format!("kind = 'unix'\npath = '{}'", path.display()));
        let error = in_time(target.probe()).await.unwrap_err();
        assert!(error.message.ends_with("does not exist"), "{error}");
        drop(UnixListener::bind(&path).unwrap());
        let error = in_time(target.probe()).await.unwrap_err();
        assert!(error.message.starts_with("connection refused on /"), "{error}");
    }

    #[tokio::test]
    async fn a_listener_that_accepts_nobody_is_a_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        nix::sys::socket::bind(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            &nix::sys::socket::UnixAddr::new(&path).unwrap(),
        )
        .unwrap();
        nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let text = format!("kind = 'unix'\npath = '{}'\nopen_timeout = '200ms'", path.display());
        let target = target(&text);
        let _fills_the_queue = in_time(target.open(Mode::Rw, None)).await.unwrap();
        let error = in_time(target.open(Mode::Rw, None)).await.err().unwrap();
        assert_eq!(error.end, End::TargetTimeout);
        assert_eq!(error.message, "the unix target did not open in 200ms");
    }
}
