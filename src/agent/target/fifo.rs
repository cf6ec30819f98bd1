//! A FIFO that some program writes its log into. Read-only, and outlives its writers.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::Deserialize;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;

use super::{OpenError, Opened, Wrong, absolute, access};

/// What is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    path: String,
    #[serde(default)]
    follow_symlinks: bool,
}

impl Raw {
    pub(super) fn check(&self) -> Result<Fifo, Wrong> {
        Ok(Fifo { path: absolute("path", &self.path)?, follow_symlinks: self.follow_symlinks })
    }
}

/// A checked FIFO target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    path: PathBuf,
    follow_symlinks: bool,
}

impl Fifo {
    pub(super) fn open(&self) -> Result<Opened, OpenError> {
        let pipe = self.receiver()?;
        Ok(Opened::read_only(Box::new(Lines { fifo: self.clone(), pipe })))
    }

    pub(super) fn probe(&self) -> Result<String, OpenError> {
        self.file().map(|_| "opened and closed".into())
    }

    fn file(&self) -> Result<File, OpenError> {
        let file = access::open(&self.path, self.follow_symlinks)?;
        let meta = file.metadata().map_err(|error| access::failed(&self.path, &error))?;
        if !meta.file_type().is_fifo() {
            return Err(OpenError::failed(format!("{} is not a FIFO", self.path.display())));
        }
        Ok(file)
    }

    fn receiver(&self) -> Result<Receiver, OpenError> {
        Receiver::from_file(self.file()?).map_err(|error| access::failed(&self.path, &error))
    }
}

/// The bytes of all writers, one after the other.
struct Lines {
    fifo: Fifo,
    pipe: Receiver,
}

impl AsyncRead for Lines {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
            if buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // The last writer left. A descriptor that has seen that is always readable (POLLHUP) and
            // would make us spin; a new one waits for the next writer. It is opened before the old
            // one goes, because bytes live in the FIFO only while somebody has it open.
            let next = self.fifo.receiver().map_err(|error| io::Error::other(error.message))?;
            self.pipe = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::AsyncReadExt;

    use super::super::tests::target;
    use crate::protocol::mode::Mode;

    #[tokio::test]
    async fn writers_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let target = target(&format!("kind = 'fifo'\npath = '{}'", path.display()));
        let mut opened = target.open(Mode::Ro).await.unwrap();
        for round in 0..20 {
            let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            let line = format!("line {round:02}\n");
            writer.write_all(line.as_bytes()).unwrap();
            drop(writer);
            let mut got = [0; 8];
            let read = opened.output.read_exact(&mut got);
            tokio::time::timeout(std::time::Duration::from_secs(5), read).await.unwrap().unwrap();
            assert_eq!(String::from_utf8_lossy(&got), line);
        }
        // Nobody writes: it waits, and does not end.
        let wait = tokio::time::timeout(std::time::Duration::from_millis(50), opened.output.read_u8());
        assert!(wait.await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_fifo_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let target = target(&format!("kind = 'fifo'\npath = '{}'", file.path().display()));
        assert!(target.open(Mode::Ro).await.err().unwrap().message.contains("not a FIFO"));
        assert!(target.probe().await.is_err());
    }
}
