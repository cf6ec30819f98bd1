//! One line for several clients: each byte is read once and given to all, and one of them may write. The line waits for
//! the client that types. A slow watcher loses bytes and is informed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::line::Line;
use protocol::failure::Failure;

/// Bytes read at a time: a line carries about 11 KB per second, and QEMU's terminal up to 4 KiB at once.
const CHUNK: usize = 4096;

/// How many pieces may wait for a slow client.
const WAITING: usize = 16;

/// An open line. It closes with its last reader and writer.
#[derive(Debug)]
pub(super) struct SharedLine {
    line: Arc<Line>,
    joining: mpsc::UnboundedSender<Subscriber>,
    has_writer: AtomicBool,
}

impl SharedLine {
    pub(super) fn begin(line: Line) -> Arc<SharedLine> {
        let line = Arc::new(line);
        let (joining, joined) = mpsc::unbounded_channel();
        // Several sessions read it, so it is in the span of none.
        tokio::spawn(give_to_all(line.clone(), joined));
        Arc::new(SharedLine { line, joining, has_writer: AtomicBool::new(false) })
    }

    /// Whether the line has ended, so that the next client opens it again.
    pub(super) fn is_over(&self) -> bool {
        self.joining.is_closed()
    }

    /// Subscribes to what comes from now on. The line waits for this reader if `is_typing`.
    pub(super) fn reader(self: &Arc<SharedLine>, is_typing: bool) -> LineReader {
        let (send, pieces) = mpsc::channel(WAITING);
        // Fails if the line has just ended. Then this reader ends, too.
        let _ = self.joining.send(Subscriber { send, is_typing, missed: 0 });
        LineReader { shared: self.clone(), pieces, piece: vec![], given: 0 }
    }

    /// The right to type; `None` while another client has it.
    pub(super) fn writer(self: &Arc<SharedLine>) -> Option<LineWriter> {
        let is_free = !self.has_writer.swap(true, Ordering::AcqRel);
        is_free.then(|| LineWriter(self.clone()))
    }
}

/// The line's end of a reader.
#[derive(Debug)]
struct Subscriber {
    send: mpsc::Sender<Vec<u8>>,
    is_typing: bool,
    /// How many bytes were lost since the last piece.
    missed: usize,
}

impl Subscriber {
    /// Returns false if the reader has left.
    async fn give(&mut self, piece: &[u8]) -> bool {
        if self.is_typing {
            return self.send.send(piece.to_vec()).await.is_ok();
        }
        let mut said = match self.missed {
            0 => vec![],
            missed => {
                format!("\r\n[{missed} bytes were missed here: this client was too slow]\r\n").into_bytes()
            }
        };
        said.extend_from_slice(piece);
        match self.send.try_send(said) {
            Ok(()) => self.missed = 0,
            Err(TrySendError::Full(_)) => self.missed += piece.len(),
            Err(TrySendError::Closed(_)) => return false,
        }
        true
    }
}

/// Runs until the line ends or nobody has it open.
async fn give_to_all(line: Arc<Line>, mut joined: mpsc::UnboundedReceiver<Subscriber>) {
    let mut subscribers: Vec<Subscriber> = vec![];
    let mut chunk = [0; CHUNK];
    loop {
        tokio::select! {
            biased;
            subscriber = joined.recv() => match subscriber {
                Some(subscriber) => subscribers.push(subscriber),
                None => return,
            },
            read = line.read(&mut chunk), if !subscribers.is_empty() => {
                let n = match read {
                    Ok(0) | Err(_) => return,
                    Ok(n) => n,
                };
                let mut left = vec![];
                for (at, subscriber) in subscribers.iter_mut().enumerate() {
                    if !subscriber.give(&chunk[..n]).await {
                        left.push(at);
                    }
                }
                left.into_iter().rev().for_each(|at| drop(subscribers.swap_remove(at)));
            }
        }
    }
}

/// The output of a line for one client.
pub(super) struct LineReader {
    shared: Arc<SharedLine>,
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    given: usize,
}

impl AsyncRead for LineReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = &mut *self;
        if reader.given == reader.piece.len() {
            reader.given = 0;
            reader.piece = vec![];
            match ready!(reader.pieces.poll_recv(cx)) {
                Some(piece) => reader.piece = piece,
                // The other end of the terminal was closed, such as by a machine that was shut down.
                None if reader.shared.line.is_pseudo_terminal() => return Poll::Ready(Ok(())),
                None => return Poll::Ready(Err(Failure::Gone.error("the line was hung up"))),
            }
        }
        let left = &reader.piece[reader.given..];
        let n = left.len().min(buf.remaining());
        buf.put_slice(&left[..n]);
        reader.given += n;
        Poll::Ready(Ok(()))
    }
}

/// The only input of a line. Dropping it lets another client type.
pub(super) struct LineWriter(Arc<SharedLine>);

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.0.has_writer.store(false, Ordering::Release);
    }
}

impl AsyncWrite for LineWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.line.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A serial line cannot signal the end of input.
        Poll::Ready(Ok(()))
    }
}
