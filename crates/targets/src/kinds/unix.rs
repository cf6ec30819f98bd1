//! A unix socket, such as a VM's SPICE or VNC display, a serial console or a service's own socket.

mod discover;

use std::path::PathBuf;

use serde::Deserialize;
use tokio::net::UnixStream;

use crate::kind::{Connections, Open, Settings};
use crate::support::access::{Need, explain};
use crate::support::candidate::{Findings, search};
use crate::support::opened::{OpenError, Opened, Opening, blocking};
use crate::support::params::{ParamError, Params};
use crate::support::socket::{both_ways, connect, socket_path};
use crate::support::value::TargetConfigError;
use crate::support::wants::Wants;
use protocol::mode::Mode;
use protocol::profile::Profile;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    path: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unix {
    path: PathBuf,
}

impl Settings for Unix {
    const NAME: &'static str = "unix";
    /// A SPICE client of QEMU opens 8 connections, one per channel.
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

    async fn discover() -> Findings {
        search(discover::discover).await
    }
}

impl Open for Unix {
    async fn open(&self, Opening { mode, shared, .. }: Opening) -> Result<Opened, OpenError> {
        let stream = self.connect().await?;
        if mode == Mode::Ro {
            // Keeps the socket whole: without its write half, the target would believe that its client left.
            return Ok(Opened::read_only(stream));
        }
        both_ways(stream, &shared)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::testing::{in_time, target};
    use protocol::end::End;

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
        let mut received = String::new();
        in_time(server.read_to_string(&mut received)).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut said = String::new();
        in_time(output.read_to_string(&mut said)).await.unwrap();
        assert_eq!((received.as_str(), said.as_str()), ("question", "answer"));
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
