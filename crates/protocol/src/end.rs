//! Why a stream ended. One enum has the close code, the label in metrics and audit records, the reason and the log
//! level. A test compares it with `docs/protocol.md`.

use std::borrow::Cow;

/// Why a stream ended, or did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The target reached its end of file.
    TargetEnded,
    /// The other side closed its websocket in good order.
    PeerLeft,
    /// A peer broke RFC 6455 or this protocol.
    ProtocolError,
    /// A peer's text is not UTF-8.
    InvalidText,
    /// The relay is restarting; a new session will work.
    RelayRestarting,
    /// The request is not valid.
    BadRequest,
    /// What the client shows does not have the form of a token.
    TokenMalformed,
    /// The policy, the allowlist or the origins forbid it.
    NotAllowed,
    /// No host is parked under this token: unknown, expired and dead tokens look the same.
    NoHost,
    /// The session is live, but its host did not dial in for this stream in time.
    HostLate,
    /// The session already has all the streams it may have, or belongs to another client.
    TokenUsed,
    /// An administrator, a reload or the session's time limit ended it.
    SessionEnded,
    /// A message was larger than allowed.
    TooLarge,
    /// A limit on how many clients may wait, or streams may be open, is reached.
    TooMany,
    /// The host could not open the target.
    TargetFailed,
    /// The connection to the other side broke: it ended without a close frame, or went silent.
    PeerLost,
    /// The target did not answer in time.
    TargetTimeout,
    /// A peer took no byte for longer than the write stall limit.
    Stalled,
}

impl End {
    /// Every end, in the order of the table in `docs/protocol.md`.
    pub const ALL: [End; 18] = [
        End::TargetEnded,
        End::PeerLeft,
        End::ProtocolError,
        End::InvalidText,
        End::RelayRestarting,
        End::BadRequest,
        End::TokenMalformed,
        End::NotAllowed,
        End::NoHost,
        End::HostLate,
        End::TokenUsed,
        End::SessionEnded,
        End::TooLarge,
        End::Stalled,
        End::TooMany,
        End::TargetFailed,
        End::PeerLost,
        End::TargetTimeout,
    ];

    /// Close code, label and reason of each end.
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            End::TargetEnded => (1000, "target_ended", "target ended"),
            End::PeerLeft => (1001, "peer_left", "the other side left"),
            End::ProtocolError => (1002, "protocol_error", "protocol error"),
            End::InvalidText => (1007, "invalid_text", "text is not UTF-8"),
            End::RelayRestarting => (1012, "relay_restarting", "relay restarting"),
            End::BadRequest => (4400, "bad_request", "bad request"),
            End::TokenMalformed => (4401, "token_malformed", "token malformed"),
            End::NotAllowed => (4403, "not_allowed", "not allowed"),
            End::NoHost => (4404, "no_host", "no host with this token"),
            End::HostLate => (4408, "host_late", "the host did not come in time"),
            End::TokenUsed => (4409, "token_used", "token already used"),
            End::SessionEnded => (4410, "session_ended", "session ended"),
            End::TooLarge => (4413, "too_large", "message too large"),
            End::Stalled => (4414, "stalled", "no byte was taken for too long"),
            End::TooMany => (4429, "too_many", "too many"),
            End::TargetFailed => (4502, "target_failed", "host could not open the target"),
            End::PeerLost => (4503, "peer_lost", "connection to the host was lost"),
            End::TargetTimeout => (4504, "target_timeout", "target did not answer in time"),
        }
    }

    /// The websocket close code (RFC 6455 section 7.4; 4000-4999 are private use).
    pub const fn code(self) -> u16 {
        self.row().0
    }

    /// The label in metrics and audit records.
    pub const fn label(self) -> &'static str {
        self.row().1
    }

    /// The reason, if there is no more exact one.
    pub const fn reason(self) -> &'static str {
        self.row().2
    }

    /// The end that a received close code stands for; `None` for a code this protocol does not use.
    pub fn from_code(code: u16) -> Option<End> {
        End::ALL.into_iter().find(|end| end.code() == code)
    }

    /// The log level of the end.
    pub const fn level(self) -> Level {
        match self {
            End::TargetEnded | End::PeerLeft | End::SessionEnded | End::RelayRestarting => Level::Info,
            _ => Level::Warn,
        }
    }
}

/// Log level of an [`End`]; a type of its own, so that this crate needs no logging crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For ends in normal operation.
    Info,
    /// For ends that an operator may have to look into.
    Warn,
}

/// An end with the reason for the record, which may name addresses, paths and programs. A peer gets a
/// [`CloseFrame`](super::close::CloseFrame) instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({})", .end.code())]
pub struct Closing {
    /// Why the stream ended.
    pub end: End,
    /// The reason in words, for the record.
    pub reason: Cow<'static, str>,
}

impl Closing {
    /// An end with a reason of its own.
    pub fn new(end: End, reason: impl Into<Cow<'static, str>>) -> Closing {
        Closing { end, reason: reason.into() }
    }
}

impl From<End> for Closing {
    fn from(end: End) -> Closing {
        Closing { end, reason: Cow::Borrowed(end.reason()) }
    }
}

/// What a finished stream carried, and why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Payload bytes from the client to the target.
    pub bytes_in: u64,
    /// Payload bytes from the target to the client.
    pub bytes_out: u64,
    /// Why the stream ended.
    pub closing: Closing,
}
