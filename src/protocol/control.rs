//! The JSON text messages inside a websocket that speaks `stream.v1`.

use serde::{Deserialize, Serialize};

/// The subprotocol of our own clients; without it a client's text messages are bytes.
pub const SUBPROTOCOL: &str = "stream.v1";

/// The longest control message that is read. Bytes of text; they are small by nature.
pub const MAX_CONTROL: usize = 4096;

/// What the relay tells a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRelay {
    /// A client has claimed this stream: open the target now.
    Linked {
        /// Number of the stream in its session, from 1.
        stream: u32,
        /// Address of the client as the relay sees it.
        peer: String,
        /// Whether the client speaks [`SUBPROTOCOL`] and so understands control messages.
        control: bool,
    },
}

/// What a client tells a host; the relay passes it on unread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// The terminal's new size, in characters.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// Credit: the client has consumed this many more bytes.
    Ack {
        /// Bytes consumed since the previous `ack`.
        bytes: u64,
    },
    /// The client will send no more bytes.
    Eof,
    /// Anything newer than this program: ignored.
    #[serde(other)]
    Unknown,
}

/// What a host tells a client; the relay passes it on unread to clients that speak [`SUBPROTOCOL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromHost {
    /// The target's process ended.
    Exit {
        /// Exit status, or 128 + signal number as a shell would say.
        code: i32,
    },
    /// The target will send no more bytes.
    Eof,
    /// Anything newer than this program: ignored.
    #[serde(other)]
    Unknown,
}

/// The message as text.
pub fn to_text(message: &impl Serialize) -> String {
    // These types hold only numbers and strings, which always serialise.
    serde_json::to_string(message).unwrap_or_default()
}
