//! The open streams of one session, in the process that opens their target. A socket is passed on as it is; all other
//! targets stay here, behind a pair of sockets.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::debug;

use protocol::failure::Failure;
use protocol::mode::Mode;
use protocol::profile::Profile;
use targets::{Ask, Asked, Bound, Input, OpenError, Opened, Output, Process, Shared, Window};

use super::wire::{Connection, Ends, Reply, Request};

/// Bytes that are read at a time, and the buffer of the pair, for a terminal or a screen.
const INTERACTIVE: usize = 8 * 1024;

/// The same for everything else.
const BULK: usize = 64 * 1024;

/// A target that is ready to be opened any number of times.
#[derive(Debug)]
pub(crate) struct Source {
    pub bound: Bound,
    pub mode: Mode,
    pub profile: Profile,
}

/// The open streams, by their numbers.
pub(crate) struct Streams {
    source: Arc<Result<Source, OpenError>>,
    shared: Shared,
    replies: Arc<Connection>,
    open: Arc<Mutex<HashMap<u32, Entry>>>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Entry {
    asked: Option<Asked>,
    /// A passed socket.
    socket: Option<OwnedFd>,
    /// Ends the stream's task.
    _end: Option<DropGuard>,
}

impl Streams {
    /// Opens the target with what the `shared` of this process has. Replies go to `replies`.
    pub(crate) fn new(
        source: Result<Source, OpenError>,
        shared: Shared,
        replies: Arc<Connection>,
    ) -> Streams {
        let (source, open) = (Arc::new(source), Arc::default());
        Streams { source, shared, replies, open, tasks: TaskTracker::new() }
    }

    /// Carries out a request about a stream. It does not wait for the target.
    pub(crate) async fn take(&self, request: Request) -> io::Result<()> {
        match request {
            Request::Open { stream, window } => self.open(stream, window),
            Request::Ask { stream, ask } => self.ask(stream, ask).await?,
            Request::Close { stream } => drop(self.lock().remove(&stream)),
            _ => return Err(io::Error::other("the request is about no stream")),
        }
        Ok(())
    }

    /// Starts to open the target for a stream.
    fn open(&self, stream: u32, window: Option<Window>) {
        let ended = CancellationToken::new();
        let entry = Entry { _end: Some(ended.clone().drop_guard()), ..Entry::default() };
        self.lock().insert(stream, entry);
        let one = One {
            stream,
            profile: self.source.as_ref().as_ref().map_or(Profile::Bulk, |source| source.profile),
            replies: self.replies.clone(),
            open: self.open.clone(),
        };
        let (source, shared) = (self.source.clone(), self.shared.clone());
        self.tasks.spawn(async move {
            let work = async {
                let opened = match source.as_ref() {
                    Ok(source) => source.bound.open(source.mode, window, &shared).await,
                    Err(error) => Err(error.clone()),
                };
                match opened {
                    Ok(opened) => one.run(opened).await,
                    Err(error) => one.fail(error).await,
                }
            };
            tokio::select! {
                () = ended.cancelled() => {}
                ended = work => {
                    if let Err(error) = ended {
                        debug!("stream {stream}: {error}");
                    }
                }
            }
        });
    }

    /// Passes a client's request to the target.
    async fn ask(&self, stream: u32, ask: Ask) -> io::Result<()> {
        let what = ask.name();
        let refused = match self.lock().get(&stream).and_then(|entry| entry.asked.as_ref()) {
            Some(asked) => asked(ask).err(),
            None => None,
        };
        match refused {
            Some(unable) => {
                let reply = Reply::Unable { stream, what: what.into(), message: unable.to_string() };
                self.replies.send(&reply, None).await
            }
            None => Ok(()),
        }
    }

    /// Closes everything, also sockets that were passed on.
    pub(crate) async fn close_all(&self) {
        for (_, entry) in self.lock().drain() {
            if let Some(socket) = &entry.socket {
                let _ = SockRef::from(socket).shutdown(Shutdown::Both);
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream.
struct One {
    stream: u32,
    profile: Profile,
    replies: Arc<Connection>,
    open: Arc<Mutex<HashMap<u32, Entry>>>,
}

impl One {
    async fn fail(&self, error: OpenError) -> io::Result<()> {
        let replied =
            self.replies.send(&Reply::NotOpened { stream: self.stream, error: error.into() }, None).await;
        // Not earlier: without its entry, the stream's task ends.
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.stream);
        replied
    }

    /// Runs until the stream is closed, or until the other process is gone.
    async fn run(&self, opened: Opened) -> io::Result<()> {
        let Opened { output, input, asked, process, half_close, socket } = opened;
        let has_input = input.is_some() || socket.is_some();
        let ends =
            Ends { is_target: socket.is_some(), has_input, has_program: process.is_some(), half_close };
        let reply = Reply::Opened { stream: self.stream, opened: ends };
        if let Some(socket) = socket {
            self.replies.send(&reply, Some(&socket)).await?;
            self.entry(|entry| entry.socket = Some(socket));
            return Ok(());
        }
        let (ours, theirs) = UnixStream::pair()?;
        if self.profile == Profile::Interactive {
            // What waits here is old when it arrives.
            for end in [ours.as_fd(), theirs.as_fd()] {
                SockRef::from(&end).set_send_buffer_size(INTERACTIVE)?;
            }
        }
        let theirs = OwnedFd::from(theirs.into_std()?);
        self.entry(|entry| entry.asked = Some(asked));
        self.replies.send(&reply, Some(&theirs)).await?;
        drop(theirs);
        let (reader, writer) = ours.into_split();
        let (output, input, exit) =
            tokio::join!(self.output(output, writer), read_into(reader, input), self.exit(process));
        output.and(input).and(exit)?;
        // The client may still ask for something, and the target is closed when the stream is.
        std::future::pending().await
    }

    /// Sends the target's output, and how it ended.
    async fn output(&self, mut output: Output, mut writer: OwnedWriteHalf) -> io::Result<()> {
        let size = if self.profile == Profile::Interactive { INTERACTIVE } else { BULK };
        let mut bytes = vec![0; size];
        let failure = loop {
            match output.read(&mut bytes).await {
                Ok(0) => break None,
                Ok(read) => writer.write_all(&bytes[..read]).await?,
                Err(error) => break Some((Failure::from_error(&error), error.to_string())),
            }
        };
        drop(bytes);
        // Before the end of file, at which the reader looks for it.
        self.replies.send(&Reply::Ended { stream: self.stream, failure }, None).await?;
        writer.shutdown().await
    }

    async fn exit(&self, process: Option<Process>) -> io::Result<()> {
        let Some(mut process) = process else { return Ok(()) };
        let status = process.exit().await;
        self.replies.send(&Reply::Exit { stream: self.stream, status }, None).await
    }

    fn entry(&self, change: impl FnOnce(&mut Entry)) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Gone if the stream was closed meanwhile.
        if let Some(entry) = open.get_mut(&self.stream) {
            change(entry);
        }
    }
}

/// Writes what the client sends into the target. The end of one is the end of the other.
async fn read_into(mut reader: OwnedReadHalf, input: Option<Input>) -> io::Result<()> {
    let Some(mut input) = input else { return Ok(()) };
    let mut bytes = vec![0; INTERACTIVE];
    loop {
        let read = reader.read(&mut bytes).await?;
        if read == 0 {
            // Fails if the target takes no input any more, which changes nothing.
            let _ = input.shutdown().await;
            return Ok(());
        }
        let written = async { input.write_all(&bytes[..read]).await.and(input.flush().await) };
        if written.await.is_err() {
            // The target takes no more, and may still have output. The other process notices when it writes.
            return SockRef::from(reader.as_ref()).shutdown(Shutdown::Read);
        }
    }
}
