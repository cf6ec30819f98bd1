//! One line for several clients: each byte is read once and given to all, and one of them may write.
//! The line waits for the one that types; who only looks on and does not keep up misses something, and is told.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::line::Line;
use crate::protocol::failure::Failure;

/// Bytes read at a time: a line brings some 11 KB a second, and QEMU's terminal up to 4 KiB at once.
const CHUNK: usize = 4096;

/// Pieces that wait for a client that does not keep up.
const WAITING: usize = 16;

/// A line that is open for somebody. With the last reader and writer it is closed.
#[derive(Debug)]
pub(super) struct Shared {
    line: Arc<Line>,
    joining: mpsc::UnboundedSender<Seat>,
    has_writer: AtomicBool,
}

impl Shared {
    pub(super) fn begin(line: Line) -> Arc<Shared> {
        let line = Arc::new(line);
        let (joining, joined) = mpsc::unbounded_channel();
        tokio::spawn(give_to_all(line.clone(), joined));
        Arc::new(Shared { line, joining, has_writer: AtomicBool::new(false) })
    }

    /// Whether the line has ended: who comes now opens it anew.
    pub(super) fn is_over(&self) -> bool {
        self.joining.is_closed()
    }

    /// A place among those who see what comes from now on; the line waits for it if `is_typing`.
    pub(super) fn reader(self: &Arc<Shared>, is_typing: bool) -> Reader {
        let (send, pieces) = mpsc::channel(WAITING);
        // Fails when the line has just ended: then the reader is at its end, too.
        let _ = self.joining.send(Seat { send, is_typing, missed: 0 });
        Reader { shared: self.clone(), pieces, piece: vec![], given: 0 }
    }

    /// The right to type; none while somebody has it.
    pub(super) fn writer(self: &Arc<Shared>) -> Option<Writer> {
        let is_free = !self.has_writer.swap(true, Ordering::AcqRel);
        is_free.then(|| Writer(self.clone()))
    }
}

/// A reader, as the line sees it.
#[derive(Debug)]
struct Seat {
    send: mpsc::Sender<Vec<u8>>,
    is_typing: bool,
    /// Bytes that did not find room.
    missed: usize,
}

impl Seat {
    /// False when the reader has left.
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

/// Until the line ends, or nobody has it open.
async fn give_to_all(line: Arc<Line>, mut joined: mpsc::UnboundedReceiver<Seat>) {
    let mut seats: Vec<Seat> = vec![];
    let mut chunk = [0; CHUNK];
    loop {
        tokio::select! {
            biased;
            seat = joined.recv() => match seat {
                Some(seat) => seats.push(seat),
                None => return,
            },
            read = line.read(&mut chunk), if !seats.is_empty() => {
                let n = match read {
                    Ok(0) | Err(_) => return,
                    Ok(n) => n,
                };
                let mut left = vec![];
                for (at, seat) in seats.iter_mut().enumerate() {
                    if !seat.give(&chunk[..n]).await {
                        left.push(at);
                    }
                }
                left.into_iter().rev().for_each(|at| drop(seats.swap_remove(at)));
            }
        }
    }
}

/// What one client sees of a line.
pub(super) struct Reader {
    shared: Arc<Shared>,
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    given: usize,
}

impl AsyncRead for Reader {
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
                // The other end of a terminal was closed, as by a machine that was shut down.
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

/// The right to type.
pub(super) struct Writer(Arc<Shared>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.has_writer.store(false, Ordering::Release);
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.line.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A line has no end of input.
        Poll::Ready(Ok(()))
    }
}
