//! What a client's connection without frames shows of its end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use protocol::close::CloseFrame;
use protocol::end::End;

/// How long a client that sends no more may get nothing: to TCP, a client that only reads looks like one that has gone.
const SILENCE: Duration = Duration::from_secs(60);

/// What both directions have shown so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The client sends no more.
    has_ended: CancellationToken,
    /// The client takes no more.
    is_broken: CancellationToken,
    /// Bytes that the client took.
    taken: AtomicU64,
}

impl Watch {
    /// Resolves when the client has gone: what the host gets.
    pub(super) async fn gone(&self) -> CloseFrame {
        let silent = async {
            self.has_ended.cancelled().await;
            loop {
                let before = self.taken.load(Ordering::Relaxed);
                sleep(SILENCE).await;
                if self.taken.load(Ordering::Relaxed) == before {
                    return;
                }
            }
        };
        tokio::select! {
            () = silent => LEFT,
            () = self.is_broken.cancelled() => match self.has_ended.is_cancelled() {
                true => LEFT,
                false => LOST,
            },
        }
    }
}

/// The client ended its direction first.
pub(super) const LEFT: CloseFrame = CloseFrame::new(End::PeerLeft, "the client left");

/// The connection to the client broke.
pub(super) const LOST: CloseFrame = CloseFrame::new(End::PeerLost, "connection to the client was lost");

/// One direction of the client's connection.
pub(super) struct Watched<'a, T> {
    pub(super) inner: T,
    pub(super) watch: &'a Watch,
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<'_, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            self.watch.has_ended.cancel();
        }
        Poll::Ready(Ok(()))
    }
}

impl<W> Watched<'_, W> {
    fn note(&self, written: &io::Result<usize>) {
        match written {
            Ok(bytes) => drop(self.watch.taken.fetch_add(*bytes as u64, Ordering::Relaxed)),
            Err(_) => self.watch.is_broken.cancel(),
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Watched<'_, W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        self.note(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs));
        self.note(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(cx));
        if flushed.is_err() {
            self.watch.is_broken.cancel();
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
