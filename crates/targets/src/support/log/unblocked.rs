//! Keeps reading even if nobody takes what was read. A program that writes its log to a pipe must not wait for viewers:
//! one that pauses, or whose connection stalls, would stop it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::aside::Aside;
use crate::support::tasks::spawn;

/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// How many bytes may wait for the viewer.
const ROOM: usize = 1 << 20;

/// How long the writer may have to wait until a viewer has taken half of what waits. Slower viewers lose bytes.
const GRACE: Duration = Duration::from_millis(500);

/// The output of a source, which is read no matter how fast it is taken. Bytes that do not fit are counted and
/// reported.
pub(crate) struct Unblocked {
    pieces: mpsc::UnboundedReceiver<Piece>,
    piece: Vec<u8>,
    given: usize,
    waiting: Arc<Waiting>,
}

enum Piece {
    Bytes(Vec<u8>),
    Missed(u64),
    Failed(io::Error),
}

/// How many bytes were read and are not taken.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    taken: Notify,
}

impl Waiting {
    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Acquire) + CHUNK <= ROOM
    }

    async fn is_half_empty(&self) {
        while self.bytes.load(Ordering::Acquire) > ROOM / 2 {
            self.taken.notified().await;
        }
    }
}

impl Unblocked {
    pub(crate) fn new(source: impl AsyncRead + Send + Unpin + 'static) -> Unblocked {
        let (send, pieces) = mpsc::unbounded_channel();
        let waiting = Arc::<Waiting>::default();
        spawn(read_on(source, send, waiting.clone()));
        Unblocked { pieces, piece: vec![], given: 0, waiting }
    }
}

impl Unblocked {
    /// For output that is not a log: reports lost bytes between the others, as on a terminal.
    pub(crate) fn with_words(self) -> WithWords {
        WithWords { inner: self, words: vec![] }
    }
}

/// An [`Unblocked`] that writes its remarks into the output.
pub(crate) struct WithWords {
    inner: Unblocked,
    words: Vec<u8>,
}

impl AsyncRead for WithWords {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.words.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_read(cx, buf)) {
                Err(error) => this.words = format!("\r\n[{}]\r\n", Aside::from_error(error)?).into_bytes(),
                Ok(()) => return Poll::Ready(Ok(())),
            }
        }
        let n = this.words.len().min(buf.remaining());
        buf.put_slice(&this.words[..n]);
        this.words.drain(..n);
        Poll::Ready(Ok(()))
    }
}

/// Runs until the source ends or the viewer has left.
async fn read_on(
    mut source: impl AsyncRead + Send + Unpin,
    send: mpsc::UnboundedSender<Piece>,
    waiting: Arc<Waiting>,
) {
    let mut chunk = vec![0; CHUNK];
    let mut missed = 0;
    loop {
        // Sending fails if the viewer has left, which `closed` reports.
        let read = tokio::select! {
            biased;
            () = send.closed() => return,
            () = waiting.is_half_empty(), if missed > 0 => {
                let _ = send.send(Piece::Missed(std::mem::take(&mut missed)));
                continue;
            }
            read = source.read(&mut chunk) => read,
        };
        let n = match read {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => {
                let _ = send.send(Piece::Failed(error));
                break;
            }
        };
        if missed == 0 && !waiting.has_room() {
            // A viewer that is only slower than the writer delays it for a while, as any reader of a pipe does.
            tokio::select! {
                () = send.closed() => return,
                _ = timeout(GRACE, waiting.is_half_empty()) => {}
            }
        }
        if missed == 0 && waiting.has_room() {
            waiting.bytes.fetch_add(n, Ordering::AcqRel);
            let _ = send.send(Piece::Bytes(chunk[..n].to_vec()));
        } else {
            missed += n as u64;
        }
    }
    if missed > 0 {
        let _ = send.send(Piece::Missed(missed));
    }
}

impl AsyncRead for Unblocked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given == this.piece.len() {
            let before = std::mem::take(&mut this.piece);
            this.given = 0;
            if !before.is_empty() {
                this.waiting.bytes.fetch_sub(before.len(), Ordering::AcqRel);
                this.waiting.taken.notify_one();
            }
            match ready!(this.pieces.poll_recv(cx)) {
                Some(Piece::Bytes(piece)) => this.piece = piece,
                Some(Piece::Missed(bytes)) => {
                    return Poll::Ready(Err(Aside::Missed(bytes).error()));
                }
                Some(Piece::Failed(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let left = &this.piece[this.given..];
        let n = left.len().min(buf.remaining());
        buf.put_slice(&left[..n]);
        this.given += n;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::testing::in_time;

    #[tokio::test]
    async fn what_a_stalled_viewer_misses_is_said_between_the_bytes() {
        let (mut writer, reader) = duplex(CHUNK);
        let mut seen = Unblocked::new(reader).with_words();
        let total = 3 * ROOM;
        in_time(writer.write_all(&vec![b'x'; total])).await.unwrap();
        drop(writer);
        let mut said = String::new();
        in_time(seen.read_to_string(&mut said)).await.unwrap();
        let missed: usize = said
            .split("\r\n[")
            .skip(1)
            .map(|words| words.split(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert!(missed > 0);
        assert_eq!(said.matches('x').count() + missed, total);
    }
}
