//! Local targets: what a host owner allows to be opened, and how each kind is opened.
//!
//! This folder is the one place where a kind is added: a file here, a line in [`Kind`].
//! An opened target is bytes out, bytes in and perhaps a process; nothing here knows the relay.

use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::protocol::end::End;

/// What a target says, read by the stream that opened it.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// What a target is told.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// One opened target.
pub struct Opened {
    /// Bytes that the target says; end of file ends the stream (or this half of it).
    pub output: Output,
    /// Where the client's bytes go; `None` for what is read-only by construction.
    pub input: Option<Input>,
    /// Set for terminals: takes the client's window size.
    pub resize: Option<Box<dyn Fn(Window) + Send + Sync>>,
    /// Set where a process stands behind the target.
    pub process: Option<Process>,
    /// Whether the target can go on listening after its own end of file (sockets).
    pub half_close: bool,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A process behind a target. Dropping it kills its process group at once.
pub struct Process {
    /// Resolves when the process has ended and been reaped, with its exit status as a shell says it.
    pub exit: Pin<Box<dyn Future<Output = i32> + Send>>,
}

/// Why a target could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// [`End::TargetFailed`] or [`End::TargetTimeout`].
    pub end: End,
    /// For the owner and the audit record: what failed, on what, and what would mend it.
    pub message: String,
}
