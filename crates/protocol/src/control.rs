//! The JSON text messages inside a websocket that speaks `stream.v1`.

use serde::{Deserialize, Serialize};

/// The subprotocol with control messages. Without it, text messages of a client are bytes.
pub const SUBPROTOCOL: &str = "stream.v1";

/// The longest control message that is accepted, in bytes.
pub const MAX_CONTROL: usize = 4096;

/// Messages of the relay to a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromRelay {
    /// A client has claimed this stream: the host opens the target now.
    Linked {
        /// Number of the stream in its session, from 1.
        stream: u32,
        /// Address of the client, as seen by the relay.
        peer: String,
        /// Whether the client speaks [`SUBPROTOCOL`], and so understands control messages.
        control: bool,
    },
}

/// Messages of the relay itself to a client that speaks [`SUBPROTOCOL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient {
    /// This is the first stream of a session that may have more: later ones show the key.
    Session {
        /// The session's key; see [`SESSION_SUBPROTOCOL`](super::headers::SESSION_SUBPROTOCOL).
        key: String,
    },
}

/// Messages of a client to a host. The relay does not read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// The terminal's new size, in characters.
    Resize {
        /// Columns of characters.
        cols: u16,
        /// Rows of characters.
        rows: u16,
    },
    /// Credit: the client has consumed this many more bytes.
    Ack {
        /// Bytes consumed since the previous `ack`.
        bytes: u64,
    },
    /// The client will send no more bytes.
    Eof,
    /// A signal for the foreground processes of the target.
    Signal {
        /// The signal, without `SIG`.
        name: Signal,
    },
    /// Send nothing until `resume`. What the log itself keeps meanwhile is not lost.
    Pause,
    /// Continue after `pause`.
    Resume,
    /// Send only the lines of a log that match.
    Filter {
        /// A regular expression; empty matches every line.
        pattern: String,
        /// Send the lines that do not match instead.
        #[serde(default)]
        invert: bool,
    },
    /// Start the log again, with what was written since this time.
    Since {
        /// The time, in seconds since 1970.
        time: u64,
    },
    /// Asks for a `pong` with the same number: a page cannot send pings of the websocket itself.
    Ping {
        /// Any number.
        id: u64,
    },
    /// A type that this version does not know: ignored.
    #[serde(other)]
    Unknown,
}

/// The signals that a client may send (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "named as in signal(7)")]
pub enum Signal {
    Hup,
    Int,
    Quit,
    Kill,
    Term,
    Usr1,
    Usr2,
    Tstp,
    Cont,
}

/// Messages of a host to a client. The relay does not read them, and forwards them only to clients that speak
/// [`SUBPROTOCOL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromHost {
    /// The process of the target ended.
    Exit {
        /// Exit status, or 128 plus the number of the signal, as in a shell.
        code: i32,
    },
    /// The target will send no more bytes.
    Eof,
    /// A request of the client was refused.
    Refused {
        /// The type of the refused message.
        what: String,
        /// Why it was refused, for people.
        message: String,
    },
    /// The answer to `ping`.
    Pong {
        /// The number of the `ping`.
        id: u64,
    },
    /// A type that this version does not know: ignored.
    #[serde(other)]
    Unknown,
}

/// Encodes a message as JSON text.
pub fn to_text(message: &impl Serialize) -> String {
    // These types hold only numbers and strings, which always serialise.
    serde_json::to_string(message).unwrap_or_default()
}
