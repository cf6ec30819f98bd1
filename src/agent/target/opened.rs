//! What an opened target is to the stream that opened it, or why there is none.

use std::fmt;
use std::io;
use std::sync::LazyLock;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;

use crate::protocol::control::Signal;
use crate::protocol::end::End;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

/// What a target says, read by the stream that opened it.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// What a target is told. Shutting it down tells the target that no more will come; dropping it
/// without that does the same wherever the system has no difference between the two.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// How a target is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) mode: Mode,
    /// Kinds without a terminal ignore it.
    pub(super) window: Option<Window>,
    /// Kinds whose buffers cannot be chosen ignore it.
    pub(super) profile: Profile,
}

/// One opened target. Dropping all of it closes the target and leaves nothing behind.
pub struct Opened {
    /// Bytes that the target says. End of file comes after the last of them and ends the stream
    /// (or this half of it).
    pub output: Output,
    /// Where the client's bytes go; `None` for what is opened read only.
    pub input: Option<Input>,
    /// What else a client may ask for, besides bytes.
    pub asked: Asked,
    /// Set where a process stands behind the target.
    pub process: Option<Process>,
    /// Whether the target can go on listening after its own end of file (sockets).
    pub half_close: bool,
}

impl Opened {
    /// A target that only speaks.
    pub(super) fn read_only(output: impl AsyncRead + Send + Unpin + 'static) -> Opened {
        Opened {
            output: Box::new(output),
            input: None,
            asked: Box::new(cannot),
            process: None,
            half_close: false,
        }
    }
}

/// What a client may ask of an opened target besides bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The terminal has this size now.
    Resize(Window),
    /// A signal for what runs in the foreground.
    Signal(Signal),
    /// Say nothing for a while.
    Pause,
    /// Go on.
    Resume,
    /// Say only the lines that match, or only those that do not.
    Filter {
        /// A regular expression; empty for every line.
        pattern: String,
        /// Those that do not.
        invert: bool,
    },
    /// Begin anew with what was written since then, in seconds since 1970.
    Since(u64),
}

/// Does what was asked, or says why not. Never waits: what takes time goes on behind it.
pub type Asked = Box<dyn Fn(Ask) -> Result<(), Unable> + Send + Sync>;

/// Why something that a client asked for is not done. Clients get these words, so none of them is about the host.
#[derive(Debug)]
pub enum Unable {
    /// The target has no use for it.
    Useless,
    /// The target was opened read-only.
    ReadOnly,
    /// The log keeps nothing older, or its owner does not allow it.
    NothingOlder,
    /// What is wrong with the client's own filter.
    Filter(regex_lite::Error),
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unable::Useless => f.write_str("this target cannot do that"),
            Unable::ReadOnly => f.write_str("this stream is for reading only"),
            Unable::NothingOlder => f.write_str("this log cannot go back: nothing older is kept or allowed"),
            Unable::Filter(error) => error.fmt(f),
        }
    }
}

/// The answer to what a target has no use for. Every client tells its window's size unasked.
pub(super) fn cannot(ask: Ask) -> Result<(), Unable> {
    match ask {
        Ask::Resize(_) => Ok(()),
        _ => Err(Unable::Useless),
    }
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A process behind a target. Dropping it ends the process and everything in its session:
/// SIGHUP at once, SIGKILL for what is still there two seconds later.
pub struct Process {
    pub(super) status: watch::Receiver<Option<i32>>,
    pub(super) _ends_when_dropped: Option<DropGuard>,
}

/// What is still being done for targets that were opened.
static AT_WORK: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Spawns what has to see to the end of an opened target, whenever that comes.
pub(super) fn see_to_its_end(work: impl Future<Output = ()> + Send + 'static) {
    AT_WORK.spawn(work);
}

/// Waits until all that was opened is gone: only after the last stream has ended.
pub async fn all_gone() {
    AT_WORK.close();
    AT_WORK.wait().await;
}

/// What a shell says of a process that SIGKILL ended.
const KILLED: i32 = 128 + 9;

impl Process {
    /// Waits until the process has ended and gives its exit status as a shell says it: 128 plus
    /// the signal number where a signal ended it. May be dropped and called again.
    ///
    /// What the process left running in its session is being ended by then.
    pub async fn exit(&mut self) -> i32 {
        match self.status.wait_for(Option::is_some).await {
            Ok(status) => status.unwrap_or(KILLED),
            // The runtime is going down and has killed the process with it.
            Err(_) => KILLED,
        }
    }
}

/// Why a target could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// [`End::TargetFailed`], [`End::TargetTimeout`] or [`End::NotAllowed`].
    pub end: End,
    /// For the owner and the audit record: what failed, on what, and what would mend it. It names
    /// addresses and paths, so it is not for the client.
    pub message: String,
}

impl OpenError {
    /// The target is there or not, but did not open.
    pub(super) fn failed(message: impl Into<String>) -> OpenError {
        OpenError { end: End::TargetFailed, message: message.into() }
    }

    /// The owner does not allow this one.
    pub(super) fn not_allowed(message: impl Into<String>) -> OpenError {
        OpenError { end: End::NotAllowed, message: message.into() }
    }

    /// `what` failed with a system error.
    pub(super) fn system(what: impl fmt::Display, error: impl Into<io::Error>) -> OpenError {
        OpenError::failed(format!("{what}: {}", error.into()))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpenError {}

/// Runs system calls that may wait for a disk or a name service away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(OpenError::failed(format!("opening was broken off: {error}"))),
    }
}
