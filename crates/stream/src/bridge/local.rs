//! The local side of a bridge, and what its end and the peer's control messages mean.

use tokio::sync::mpsc;

pub struct Local<R, W> {
    /// Bytes for the peer.
    pub output: R,
    /// Where the peer's bytes go; `None` drops them.
    pub input: Option<W>,
    /// What the end of `output` means.
    pub at_eof: AtEof,
    /// Control messages for the peer, besides those that the bridge itself sends.
    pub control: Option<mpsc::Receiver<String>>,
}

/// What the end of the local output means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEof {
    /// The stream ends, after the final message.
    End,
    /// The peer gets `eof`, and the other direction goes on; when that has ended too, the stream ends.
    HalfClose,
    /// The peer gets `eof`, and ends the stream.
    LeaveToPeer,
}

/// What a control message of the peer means for the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEffect {
    None,
    /// The peer sends no more bytes.
    Eof,
    /// The peer consumed so many bytes.
    Ack(u64),
}
