//! The local side of a stream, which reports once when it can go on no more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

use super::ending::Ending;

/// Input or output of this machine. Its first failure ends the stream.
pub struct Watched<T> {
    inner: T,
    name: &'static str,
    report: mpsc::Sender<Ending>,
}

impl<T> Watched<T> {
    /// `name` is for the user; what fails is sent to `report`.
    pub fn new(inner: T, name: &'static str, report: mpsc::Sender<Ending>) -> Watched<T> {
        Watched { inner, name, report }
    }

    fn failed(&self, error: io::Error) {
        let ending = match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ending::Unread,
            _ => Ending::Local(self.name, error),
        };
        // One is enough.
        let _ = self.report.try_send(ending);
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.inner).poll_read(cx, buf)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => {
                self.failed(error);
                // The report ends the stream.
                Poll::Pending
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        Poll::Ready(written.map_err(|error| {
            let kind = error.kind();
            self.failed(error);
            kind.into()
        }))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
