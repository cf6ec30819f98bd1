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

/// What the relay itself tells a client that speaks [`SUBPROTOCOL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient {
    /// This is the first stream of a session that may have more: later ones show the key.
    Session {
        /// The session's key; see [`SESSION_SUBPROTOCOL`](super::headers::SESSION_SUBPROTOCOL).
        key: String,
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
    /// A signal for what runs in the foreground of the target.
    Signal {
        /// Which.
        name: Signal,
    },
    /// Send nothing until `resume`. Nothing is lost meanwhile that the log itself keeps.
    Pause,
    /// Go on.
    Resume,
    /// Send only the lines of a log that match.
    Filter {
        /// A regular expression; empty: every line.
        pattern: String,
        /// The lines that do not match instead.
        #[serde(default)]
        invert: bool,
    },
    /// Begin the log anew with what was written since then.
    Since {
        /// Seconds since 1970.
        time: u64,
    },
    /// Anything newer than this program: ignored.
    #[serde(other)]
    Unknown,
}

/// The signals that a client may send (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "they are named as signal(7) names them")]
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
    /// Something that the client asked for was not done.
    Refused {
        /// The type of the message that asked.
        what: String,
        /// For people: why not.
        message: String,
    },
    /// Anything newer than this program: ignored.
    #[serde(other)]
    Unknown,
}

/// The message as text.
pub fn to_text(message: &impl Serialize) -> String {
    // These types hold only numbers and strings, which always serialise.
    serde_json::to_string(message).unwrap_or_default()
}
