//! The sending half of a websocket: one call, one frame, one system call where the kernel takes it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep, timeout};

use net::backoff::random_bytes;
use protocol::close::CloseFrame;
use protocol::end::{Closing, End};

use super::frame::{self, Header, Opcode, Role};

/// Why nothing more can be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The connection failed.
    #[error("{0}")]
    Io(io::Error),
    /// The peer took no byte for the write stall limit.
    #[error("took no byte for {} s", .0.as_secs_f32())]
    Stalled(Duration),
}

impl From<WriteError> for Closing {
    fn from(error: WriteError) -> Closing {
        match error {
            WriteError::Io(error) => Closing::new(End::PeerLost, format!("connection failed: {error}")),
            WriteError::Stalled(_) => Closing::new(End::Stalled, error.to_string()),
        }
    }
}

/// The sending half of a websocket.
#[derive(Debug)]
pub struct FrameWriter<W> {
    pub io: W,
    role: Role,
    stall: Duration,
    state: State,
    has_waited: bool,
}

/// What may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing: a frame was sent in part, so the peer could not parse what follows.
    Torn,
    /// Nothing: the close frame was sent (RFC 6455 section 5.5.1).
    Closed,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to `io`. A peer that takes no byte for `stall` is an error.
    pub fn new(io: W, role: Role, stall: Duration) -> FrameWriter<W> {
        FrameWriter { io, role, stall, state: State::Open, has_waited: false }
    }

    /// Sends a piece of the byte stream as one binary message. A client's payload is masked in place.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn bytes(&mut self, payload: &mut [u8]) -> Result<(), WriteError> {
        self.frame(Opcode::Binary, payload).await
    }

    /// Sends a control message.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn text(&mut self, text: String) -> Result<(), WriteError> {
        self.frame(Opcode::Text, &mut text.into_bytes()).await
    }

    /// Sends a ping without payload.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn ping(&mut self) -> Result<(), WriteError> {
        self.frame(Opcode::Ping, &mut []).await
    }

    /// Answers a ping with its payload.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn pong(&mut self, mut payload: Vec<u8>) -> Result<(), WriteError> {
        self.frame(Opcode::Pong, &mut payload).await
    }

    /// Sends the close frame, unless one was sent already.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn close(&mut self, frame: &CloseFrame) -> Result<(), WriteError> {
        let mut payload = frame.end().code().to_be_bytes().to_vec();
        payload.extend_from_slice(frame.words().as_bytes());
        self.send_close(&mut payload).await
    }

    /// Answers the peer's close frame with the same code, or with none if it has none, or one that must not be sent
    /// (such as 1005 and 1006, which stand for no code).
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn echo(&mut self, code: Option<u16>) -> Result<(), WriteError> {
        match code.filter(|code| frame::may_be_sent(*code)) {
            Some(code) => self.send_close(&mut code.to_be_bytes()).await,
            None => self.send_close(&mut []).await,
        }
    }

    /// Whether the last frame was not taken at once.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Whether a frame was sent in part.
    pub fn is_torn(&self) -> bool {
        self.state == State::Torn
    }

    /// Closes the sending direction of the connection; for TLS with close_notify.
    pub async fn shutdown(&mut self) {
        // An error does not matter: the connection is dropped next.
        let _ = timeout(self.stall, self.io.shutdown()).await;
    }

    async fn send_close(&mut self, payload: &mut [u8]) -> Result<(), WriteError> {
        if self.state == State::Open {
            self.frame(Opcode::Close, payload).await?;
            self.state = State::Closed;
        }
        Ok(())
    }

    async fn frame(&mut self, opcode: Opcode, payload: &mut [u8]) -> Result<(), WriteError> {
        if self.state != State::Open {
            return Err(WriteError::Io(io::ErrorKind::BrokenPipe.into()));
        }
        let mask = (self.role == Role::Client).then(random_bytes);
        if let Some(mask) = mask {
            frame::apply_mask(payload, mask, 0);
        }
        let (header, header_len) =
            frame::encode(Header { fin: true, opcode, len: payload.len() as u64, mask });
        self.state = State::Torn;
        let (header, payload) = (&header[..header_len], &*payload);
        let (mut sent, mut stall) = (0, None);
        self.has_waited = false;
        poll_fn(|cx| {
            let before = sent;
            match self.poll_rest(header, payload, &mut sent, cx) {
                Poll::Ready(done) => Poll::Ready(done.map_err(WriteError::Io)),
                Poll::Pending => {
                    self.has_waited = true;
                    poll_stall(&mut stall, sent > before, self.stall, cx).map(Err)
                }
            }
        })
        .await?;
        self.state = State::Open;
        Ok(())
    }

    /// Writes what follows the first `sent` bytes of a frame, and counts it in `sent`.
    fn poll_rest(
        &mut self,
        header: &[u8],
        payload: &[u8],
        sent: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while *sent < header.len() + payload.len() {
            let slices = match sent.checked_sub(header.len()) {
                None => [IoSlice::new(&header[*sent..]), IoSlice::new(payload)],
                Some(at) => [IoSlice::new(&payload[at..]), IoSlice::new(&[])],
            };
            match ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *sent += n,
            }
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

/// Resolves when the peer has taken no byte for `limit`. The timer exists only while a frame waits.
fn poll_stall(
    stall: &mut Option<Pin<Box<Sleep>>>,
    has_moved: bool,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<WriteError> {
    let timer = stall.get_or_insert_with(|| Box::pin(sleep(limit)));
    if has_moved {
        timer.as_mut().reset(Instant::now() + limit);
    }
    timer.as_mut().poll(cx).map(|()| WriteError::Stalled(limit))
}
