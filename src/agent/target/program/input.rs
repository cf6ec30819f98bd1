//! What a program is told, and how it hears that no more will come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::unistd::write;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;

use super::pty::Pty;

/// A program's standard input; closed by shutting down.
pub(super) struct PipeInput(Option<Sender>);

impl PipeInput {
    pub(super) fn new(pipe: Sender) -> PipeInput {
        PipeInput(Some(pipe))
    }
}

impl AsyncWrite for PipeInput {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

/// What is typed at a terminal. A terminal cannot be closed for writing alone, so shutting down
/// types what ends the input there.
pub(super) struct PtyInput {
    pty: Pty,
    is_line_begun: bool,
    /// Set by shutting down: what has still to be typed.
    ending: Option<Vec<u8>>,
}

impl PtyInput {
    pub(super) fn new(pty: Pty) -> PtyInput {
        PtyInput { pty, is_line_begun: false, ending: None }
    }

    fn poll_type(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.pty.as_ref().poll_write_ready(cx))?;
            match guard.try_io(|fd| write(fd.get_ref(), bytes).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => return Poll::Ready(done),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for PtyInput {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ending.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = ready!(self.poll_type(cx, bytes))?;
        if let Some(last) = bytes[..count].last() {
            self.is_line_begun = !matches!(last, b'\n' | b'\r');
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ending = match self.ending.take() {
            Some(ending) => ending,
            None => self.pty.end_of_input(self.is_line_begun),
        };
        while !ending.is_empty() {
            match self.poll_type(cx, &ending) {
                Poll::Ready(Ok(count)) => drop(ending.drain(..count)),
                // Nobody is there any more to be told.
                Poll::Ready(Err(_)) => ending.clear(),
                Poll::Pending => {
                    self.ending = Some(ending);
                    return Poll::Pending;
                }
            }
        }
        self.ending = Some(ending);
        Poll::Ready(Ok(()))
    }
}
