//! A unix socket of this machine: QEMU's SPICE, VNC and serial ports.

use std::path::PathBuf;

use serde::Deserialize;
use tokio::net::UnixStream;

use super::{OpenError, Opened, Wrong, absolute, access};
use crate::protocol::mode::Mode;

/// What is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    path: String,
}

impl Raw {
    pub(super) fn check(&self) -> Result<Unix, Wrong> {
        Ok(Unix { path: absolute("path", &self.path)? })
    }
}

/// A checked unix socket target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unix {
    path: PathBuf,
}

impl Unix {
    pub(super) async fn open(&self, mode: Mode) -> Result<Opened, OpenError> {
        let stream =
            UnixStream::connect(&self.path).await.map_err(|error| access::failed(&self.path, &error))?;
        let (output, input) = stream.into_split();
        let input: Option<super::Input> = match mode {
            Mode::Rw => Some(Box::new(input)),
            Mode::Ro => {
                // Dropped, it would tell the target that the client has ended.
                input.forget();
                None
            }
        };
        Ok(Opened { output: Box::new(output), input, resize: None, exit: None, half_close: true })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::tests::target;
    use super::*;

    #[tokio::test]
    async fn a_socket_is_connected_both_ways_and_its_absence_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let target = target(&format!("kind = 'unix'\npath = '{}'", path.display()));
        let error = target.open(Mode::Rw).await.err().unwrap();
        assert!(error.message.contains("No such file"), "{}", error.message);
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (opened, accepted) = tokio::join!(target.open(Mode::Rw), listener.accept());
        let (mut opened, mut stream) = (opened.unwrap(), accepted.unwrap().0);
        opened.input.as_mut().unwrap().write_all(b"in").await.unwrap();
        stream.write_all(b"out").await.unwrap();
        let (mut heard, mut said) = ([0; 2], [0; 3]);
        stream.read_exact(&mut heard).await.unwrap();
        opened.output.read_exact(&mut said).await.unwrap();
        assert_eq!((&heard, &said), (b"in", b"out"));
        drop(listener);
        let error = target.probe().await.unwrap_err();
        assert!(error.message.contains("nobody listens"), "{}", error.message);
    }
}
