//! Input and output that report their first failure.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

use super::outcome::EndReason;

/// Local input or output whose failure ends the stream.
pub(crate) struct Watched<T> {
    inner: T,
    name: &'static str,
    report: mpsc::Sender<EndReason>,
}

impl<T> Watched<T> {
    /// `name` is for the user's error. The failure is sent to `report`.
    pub(crate) fn new(inner: T, name: &'static str, report: mpsc::Sender<EndReason>) -> Watched<T> {
        Watched { inner, name, report }
    }

    fn failed(&self, error: io::Error) {
        let reason = match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => EndReason::OutputClosed,
            _ => EndReason::Local(self.name, error),
        };
        // The first failure is enough.
        let _ = self.report.try_send(reason);
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
                // The receiver of the report ends the stream.
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
