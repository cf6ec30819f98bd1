//! Seeded randomness, transports that misbehave, and far ends.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use protocol::close;
use protocol::end::Outcome;
use stream::bridge::{self, ControlEffect, Local};
use stream::pair;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role as TheirRole;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use websocket::connection::{Limits, WebSocket};
use websocket::frame::Role;
use websocket::reader::Text;

/// SplitMix64: the same numbers for the same seed.
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.roll() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.roll().to_le_bytes()).take(len).collect()
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Gives its bytes in random pieces and is often not ready.
pub(crate) struct Chunks {
    pub bytes: VecDeque<u8>,
    pub dice: Dice,
    /// Largest piece.
    pub most: usize,
}

impl AsyncRead for Chunks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.dice.one_in(3) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = self.most;
        let n = (1 + self.dice.below(most)).min(self.bytes.len()).min(buf.remaining());
        let (head, _) = self.bytes.as_slices();
        let n = n.min(head.len());
        buf.put_slice(&head[..n]);
        self.bytes.drain(..n);
        Poll::Ready(Ok(()))
    }
}

/// Takes bytes in random pieces and is often not ready.
pub(crate) struct Sink<'a> {
    pub bytes: &'a mut Vec<u8>,
    pub dice: Dice,
    pub most: usize,
}

impl AsyncWrite for Sink<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.dice.one_in(3) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = self.most;
        let n = (1 + self.dice.below(most)).min(buf.len());
        self.bytes.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub(crate) type Far = WebSocketStream<DuplexStream>;

/// A websocket on the relay's side, and tungstenite at its far end, with `room` bytes between them.
pub(crate) async fn websocket(room: usize, text: Text, limits: Limits) -> (WebSocket<DuplexStream>, Far) {
    let (near, far) = duplex(room);
    let far = WebSocketStream::from_raw_socket(far, TheirRole::Client, None).await;
    (WebSocket::new(near, &[], Role::Server, text, limits), far)
}

/// Limits that end a test soon under a clock that is not paused.
pub(crate) fn limits() -> Limits {
    Limits { close_wait: Duration::from_secs(5), ..Limits::default() }
}

/// Everything that arrives until the close: bytes, texts, and the close.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Got {
    pub bytes: Vec<u8>,
    pub texts: Vec<String>,
    pub close: Option<(u16, String)>,
    pub clean: bool,
}

/// Reads until the websocket is over.
pub(crate) async fn read_all<S: AsyncRead + AsyncWrite + Unpin>(far: &mut WebSocketStream<S>) -> Got {
    let mut got = Got::default();
    while let Some(message) = far.next().await {
        match message {
            Ok(Message::Binary(bytes)) => got.bytes.extend_from_slice(&bytes),
            Ok(Message::Text(text)) => got.texts.push(text.to_string()),
            Ok(Message::Close(close)) => {
                got.clean = true;
                got.close = close.map(|close| (close.code.into(), close.reason.to_string()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    got
}

pub(crate) async fn send(far: &mut Far, bytes: &[u8]) {
    far.send(Message::binary(bytes.to_vec())).await.unwrap();
}

pub(crate) fn closing(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() }))
}

/// Fails a test that hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("hangs")
}

/// Links, and takes leave of both.
pub(crate) async fn link_to_the_end<H, C>(
    host: WebSocket<H>,
    client: WebSocket<C>,
    control: bool,
    stop: impl Future<Output = close::CloseFrame>,
) -> Outcome
where
    H: AsyncRead + AsyncWrite,
    C: AsyncRead + AsyncWrite,
{
    let (outcome, host, client) = pair::link(host, client, control, stop).await;
    tokio::join!(host.close(), client.close());
    outcome
}

/// Bridges, and takes leave of the peer.
pub(crate) async fn bridge_to_the_end<S, R, W>(
    websocket: WebSocket<S>,
    local: Local<R, W>,
    on_control: impl FnMut(&str) -> ControlEffect,
    final_message: impl Future<Output = Result<Option<String>, protocol::failure::Failure>>,
    stop: impl Future<Output = close::CloseFrame>,
) -> Outcome
where
    S: AsyncRead + AsyncWrite,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (outcome, peer) = bridge::bridge(websocket, local, on_control, final_message, stop).await;
    peer.close().await;
    outcome
}
