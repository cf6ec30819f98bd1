//! An opened target as its stream uses it, and why opening failed.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use protocol::control::Signal;
use protocol::end::End;
use protocol::mode::Mode;
use protocol::profile::Profile;

use super::pattern::PatternError;
use super::shared::Shared;
use super::tasks::spawn_blocking;

/// The output of a target, read by its stream.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// The input of a target. Shutting it down signals the end of the input. Dropping it does the same if the system does
/// not distinguish the two.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// The options of one opening.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) mode: Mode,
    /// The size of the client's terminal. Kinds without a terminal ignore it.
    pub(crate) window: Option<Window>,
    /// What the buffers are tuned for. Kinds without buffers of their own ignore it.
    pub(crate) profile: Profile,
    pub(crate) shared: Shared,
}

/// An opened target. Dropping all parts of it closes the target and leaves nothing behind.
pub struct Opened {
    /// The bytes of the target. After the last one comes an end of file, which ends the stream (or this half of it).
    pub output: Output,
    /// The target's input; `None` if the target was opened read-only.
    pub input: Option<Input>,
    /// Carries out requests of the client.
    pub asked: Asked,
    /// The process, if the target runs one.
    pub process: Option<Process>,
    /// Whether the target can still read after the end of its own output (sockets).
    pub half_close: bool,
    /// The target's own socket, in a process that passes sockets on ([`Shared::passing`]). Output and input are then empty.
    pub socket: Option<OwnedFd>,
}

impl Opened {
    pub(crate) fn read_only(output: impl AsyncRead + Send + Unpin + 'static) -> Opened {
        Opened {
            output: Box::new(output),
            input: None,
            asked: Box::new(cannot),
            process: None,
            half_close: false,
            socket: None,
        }
    }

    /// A connected socket, from another process that opened it.
    ///
    /// # Errors
    /// If it is not a connected stream socket.
    pub fn from_socket(socket: OwnedFd) -> io::Result<Opened> {
        let stream = socket2::Socket::from(socket);
        let (address, _) = (stream.local_addr()?, stream.peer_addr()?);
        stream.set_nonblocking(true)?;
        let (output, input): (Output, Input) = match address.is_unix() {
            true => {
                let (output, input) = UnixStream::from_std(stream.into())?.into_split();
                (Box::new(output), Box::new(input))
            }
            false => {
                let (output, input) = TcpStream::from_std(stream.into())?.into_split();
                (Box::new(output), Box::new(input))
            }
        };
        Ok(Opened { input: Some(input), half_close: true, ..Opened::read_only(output) })
    }

    /// A target that another process has opened. Requests go there, and what cannot be done is not known at once.
    pub fn elsewhere(
        (output, input): (Output, Option<Input>),
        request: impl Fn(Ask) + Send + Sync + 'static,
        status: Option<watch::Receiver<Option<i32>>>,
        half_close: bool,
    ) -> Opened {
        let asked = Box::new(move |ask| {
            request(ask);
            Ok(())
        });
        let process = status.map(|status| Process { status, _ends_when_dropped: None });
        Opened { output, input, asked, process, half_close, socket: None }
    }
}

/// What a client may request besides sending bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// The client's terminal has this size now.
    Resize(Window),
    /// Send a signal to the foreground process.
    Signal(Signal),
    Pause,
    Resume,
    /// Show only the lines that match, or only the others.
    Filter {
        /// A regular expression; empty for all lines.
        pattern: String,
        /// Show the lines that do not match.
        invert: bool,
    },
    /// Start over from this time, in seconds since 1970.
    Since(u64),
}

impl Ask {
    /// The type of the control message that requests it.
    pub const fn name(&self) -> &'static str {
        match self {
            Ask::Resize(_) => "resize",
            Ask::Signal(_) => "signal",
            Ask::Pause => "pause",
            Ask::Resume => "resume",
            Ask::Filter { .. } => "filter",
            Ask::Since(_) => "since",
        }
    }
}

/// Starts what was requested and returns at once, or says why it cannot be done.
pub type Asked = Box<dyn Fn(Ask) -> Result<(), Unable> + Send + Sync>;

/// Why a request of a client cannot be carried out. Clients receive these texts, so they name nothing of the host.
#[derive(Debug, Error)]
pub enum Unable {
    /// The target does not support the request.
    #[error("this target cannot do that")]
    Useless,
    /// The target was opened read-only.
    #[error("this stream is for reading only")]
    ReadOnly,
    /// Nothing older is stored, or the owner does not allow it.
    #[error("this log cannot go back: nothing older is kept or allowed")]
    NothingOlder,
    /// The client's filter is not a valid pattern.
    #[error(transparent)]
    Filter(#[from] PatternError),
}

/// The answer of a target that supports no requests. Sizes are ignored, because every client sends them unasked.
pub(crate) fn cannot(ask: Ask) -> Result<(), Unable> {
    match ask {
        Ask::Resize(_) => Ok(()),
        _ => Err(Unable::Useless),
    }
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub cols: u16,
    pub rows: u16,
}

/// The process of a target. Dropping this ends the process and everything in its session: SIGHUP at once, and SIGKILL
/// two seconds later for what is left.
pub struct Process {
    pub(crate) status: watch::Receiver<Option<i32>>,
    pub(crate) _ends_when_dropped: Option<DropGuard>,
}

/// The exit status in a shell of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;

impl Process {
    /// Waits until the process has ended and returns its exit status as a shell does: 128 plus the signal number if a
    /// signal ended it. Cancellation safe.
    ///
    /// Processes that it left in its session are being ended by then.
    pub async fn exit(&mut self) -> i32 {
        match self.status.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or(KILLED),
            // The runtime is shutting down and has killed the process.
            Err(_) => KILLED,
        }
    }
}

/// Why a target could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct OpenError {
    /// One of [`End::TargetFailed`], [`End::TargetTimeout`] and [`End::NotAllowed`].
    pub end: End,
    /// For the owner and the audit record: what failed, for which file or address, and how to fix it. Clients must not
    /// receive it, because it names addresses and paths.
    pub message: String,
}

impl OpenError {
    /// The target could not be opened.
    pub(crate) fn failed(message: impl Into<String>) -> OpenError {
        OpenError { end: End::TargetFailed, message: message.into() }
    }

    /// The owner does not allow what was requested.
    pub(crate) fn not_allowed(message: impl Into<String>) -> OpenError {
        OpenError { end: End::NotAllowed, message: message.into() }
    }

    /// `what` failed with a system error.
    pub(crate) fn system(what: impl fmt::Display, error: impl Into<io::Error>) -> OpenError {
        OpenError::failed(format!("{what}: {}", error.into()))
    }
}

/// Runs system calls that may wait for a disk or a name service on another thread than the runtime's.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(OpenError::failed(format!("opening was broken off: {error}"))),
    }
}
