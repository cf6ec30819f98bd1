//! A session whose target an opener opens: the network half's side of the connection.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tracing::{Instrument, debug};

use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal, TargetInfo};
use protocol::end::{Closing, End};
use protocol::failure::Failure;
use targets::{Ask, Input, OpenError, Opened, Output, Window};

use super::openers::Openers;
use super::request::{Start, no_opener, note};
use super::stop::Stop;
use super::wire::{Connection, Ends, Permitted, Reply, Request};

/// How long the opener may take for its first answer: less than platforms wait for an agent's.
const FIRST_ANSWER: Duration = Duration::from_secs(4);

/// Requests that may wait to be sent.
const REQUESTS: usize = 64;

/// How long it may take to probe a target: the longest `open_timeout`, and a start.
const PROBE: Duration = Duration::from_secs(90);

const OTHER_ANSWER: &str = "it gave another answer than it was asked for";

/// Why the targets are not known.
#[derive(Debug)]
pub enum ListError {
    /// A file has a mistake, which is said with its place. A restart does not help.
    Misconfigured(String),
    /// It may answer later.
    NoOpener(Refusal),
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::Misconfigured(why) => f.write_str(why),
            ListError::NoOpener(refusal) => f.write_str(&refusal.message),
        }
    }
}

impl std::error::Error for ListError {}

/// How the output of a target ended: well, or by a failure with details for the record.
type OutputEnd = Option<(Failure, String)>;

/// A session at an opener. Dropping it closes the connection, and the opener ends the session.
pub(crate) struct RemoteTarget {
    requests: mpsc::Sender<Request>,
    streams: Streams,
    ended: Stop,
    reader: AbortHandle,
}

/// The streams of a session, by their numbers.
type Streams = Arc<Mutex<HashMap<u32, Stream>>>;

/// Where the replies about a stream go.
struct Stream {
    opened: Option<oneshot::Sender<Result<(Ends, OwnedFd), OpenError>>>,
    output_end: Option<oneshot::Sender<OutputEnd>>,
    exit: watch::Sender<Option<i32>>,
    notes: Option<mpsc::Sender<String>>,
}

impl RemoteTarget {
    /// # Errors
    /// The opener's refusal, or that it does not answer.
    pub(crate) async fn begin(openers: &Openers, start: Start) -> Result<(Permitted, RemoteTarget), Refusal> {
        let asked = openers.ask_spare(&Request::Begin(start), FIRST_ANSWER).await;
        let (connection, reply) = asked.map_err(|error| match error.kind() {
            // A burst of sessions: systemd starts one opener after the other.
            io::ErrorKind::TimedOut => Refusal::new(Code::Busy, "this host has too much to do: try again"),
            _ => no_opener(error),
        })?;
        let permitted = match reply {
            Reply::Permitted(permitted) => permitted,
            Reply::Refused(refusal) => return Err(refusal),
            Reply::Misconfigured(why) => return Err(misconfigured(&why)),
            _ => return Err(no_opener(OTHER_ANSWER)),
        };
        let connection = Arc::new(connection);
        let (streams, ended) = (Streams::default(), Stop::default());
        let reading = read(connection.clone(), streams.clone(), ended.clone());
        let reader = tokio::spawn(reading.in_current_span()).abort_handle();
        let (requests, queue) = mpsc::channel(REQUESTS);
        tokio::spawn(write(connection, queue).in_current_span());
        Ok((permitted, RemoteTarget { requests, streams, ended, reader }))
    }

    pub(crate) async fn open(
        &self,
        stream: u32,
        window: Option<Window>,
        notes: Option<mpsc::Sender<String>>,
    ) -> Result<Opened, OpenError> {
        let failed = |error: io::Error| OpenError {
            end: End::TargetFailed,
            message: format!("the opener of this host does not answer: {error}"),
        };
        let (opened, reply) = oneshot::channel();
        let (output_end, output_ended) = oneshot::channel();
        let (exit, status) = watch::channel(None);
        let entry = Stream { opened: Some(opened), output_end: Some(output_end), exit, notes };
        lock(&self.streams).insert(stream, entry);
        let guard = Guard { stream, requests: self.requests.clone(), streams: self.streams.clone() };
        // If it cannot be sent, no reply comes either.
        let _ = self.requests.send(Request::Open { stream, window }).await;
        // The opener has a time limit for each target, and the reader ends with the connection.
        let gone = |_| failed(io::ErrorKind::ConnectionAborted.into());
        let (ends, descriptor) = reply.await.map_err(gone)??;
        let (output, input, half_close) = match ends.is_target {
            true => {
                let opened = Opened::from_socket(descriptor).map_err(failed)?;
                (opened.output, opened.input, opened.half_close)
            }
            false => {
                let pair = std::os::unix::net::UnixStream::from(descriptor);
                pair.set_nonblocking(true).map_err(failed)?;
                let (reader, writer) = UnixStream::from_std(pair).map_err(failed)?.into_split();
                let output: Output = Box::new(PairOutput { reader, ended: Some(output_ended) });
                (output, Some(Box::new(writer) as Input), ends.half_close)
            }
        };
        let status = ends.has_program.then_some(status);
        let input = input.filter(|_| ends.has_input);
        Ok(Opened::elsewhere((output, input), move |request| guard.ask(request), status, half_close))
    }

    /// Resolves when the opener ends the session, or ends itself.
    pub(crate) async fn ended(&self) -> CloseFrame {
        self.ended.wait().await
    }
}

impl Drop for RemoteTarget {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Closes the target when its stream has ended.
struct Guard {
    stream: u32,
    requests: mpsc::Sender<Request>,
    streams: Streams,
}

impl Guard {
    fn ask(&self, ask: Ask) {
        // A client that asks faster than the opener takes it loses requests, and not the memory of this host.
        let _ = self.requests.try_send(Request::Ask { stream: self.stream, ask });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        lock(&self.streams).remove(&self.stream);
        let (requests, close) = (self.requests.clone(), Request::Close { stream: self.stream });
        if let Err(TrySendError::Full(close)) = requests.try_send(close)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { requests.send(close).await });
        }
    }
}

/// Sends the requests, in their order.
async fn write(connection: Arc<Connection>, mut queue: mpsc::Receiver<Request>) {
    while let Some(request) = queue.recv().await {
        if let Err(error) = connection.send(&request, None).await {
            return debug!("the opener takes no more requests: {error}");
        }
    }
}

/// Reads the opener's replies until it closes the connection.
async fn read(connection: Arc<Connection>, streams: Streams, ended: Stop) {
    loop {
        match connection.receive().await {
            Ok(Some((Reply::Stop(reason), _))) => ended.now(CloseFrame::by_host(&Closing::from(reason))),
            Ok(Some((reply, descriptor))) => take(&streams, reply, descriptor),
            Ok(None) => break,
            Err(error) => {
                debug!("the opener's connection: {error}");
                break;
            }
        }
    }
    ended.now(CloseFrame::new(End::TargetFailed, "the host closed the target"));
    // What waits for a reply learns that none will come.
    lock(&streams).clear();
}

/// Gives a reply to the stream that waits for it, if it is still there.
fn take(streams: &Streams, reply: Reply, descriptor: Option<OwnedFd>) {
    let mut streams = lock(streams);
    match reply {
        Reply::Opened { stream, opened: ends } => {
            let waiting = streams.get_mut(&stream).and_then(|stream| stream.opened.take());
            if let (Some(waiting), Some(descriptor)) = (waiting, descriptor) {
                let _ = waiting.send(Ok((ends, descriptor)));
            }
        }
        Reply::NotOpened { stream, error } => {
            if let Some(waiting) = streams.get_mut(&stream).and_then(|stream| stream.opened.take()) {
                let _ = waiting.send(Err(error.into()));
            }
        }
        Reply::Ended { stream, failure } => {
            if let Some(waiting) = streams.get_mut(&stream).and_then(|stream| stream.output_end.take()) {
                let _ = waiting.send(failure);
            }
        }
        Reply::Exit { stream, status } => {
            if let Some(stream) = streams.get(&stream) {
                stream.exit.send_replace(Some(status));
            }
        }
        Reply::Unable { stream, what, message } => {
            if let Some(notes) = streams.get(&stream).and_then(|stream| stream.notes.as_ref()) {
                note(notes, &what, message);
            }
        }
        Reply::Permitted(_)
        | Reply::Refused(_)
        | Reply::Misconfigured(_)
        | Reply::Targets(_)
        | Reply::Probed(_)
        | Reply::Stop(_) => {}
    }
}

fn lock(streams: &Streams) -> MutexGuard<'_, HashMap<u32, Stream>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The output of a target behind a pair of sockets. At its end of file comes how the target's output ended.
struct PairOutput {
    reader: OwnedReadHalf,
    ended: Option<oneshot::Receiver<OutputEnd>>,
}

impl AsyncRead for PairOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(cx, buf))?;
        if buf.filled().len() > before || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Some(ended) = &mut self.ended else { return Poll::Ready(Ok(())) };
        let end = ready!(Pin::new(ended).poll(cx));
        self.ended = None;
        Poll::Ready(match end {
            Ok(None) => Ok(()),
            Ok(Some((failure, details))) => Err(failure.error(details)),
            Err(_) => Err(Failure::Broken.error("what opened the target has ended")),
        })
    }
}

/// The targets of this host.
pub(crate) async fn list(openers: &Openers) -> Result<Vec<TargetInfo>, ListError> {
    let unknown = |why| ListError::NoOpener(no_opener(why));
    match openers.ask(&Request::List, FIRST_ANSWER).await.map_err(|error| unknown(error.to_string()))?.1 {
        Reply::Targets(targets) => Ok(targets),
        Reply::Misconfigured(why) => Err(ListError::Misconfigured(why)),
        _ => Err(unknown(OTHER_ANSWER.into())),
    }
}

/// Checks a target where it would be opened.
pub(crate) async fn probe(openers: &Openers, target: &str) -> Result<String, String> {
    let asked = openers.ask(&Request::Probe(target.into()), PROBE).await;
    match asked.map_err(|error| no_opener(error).message)?.1 {
        Reply::Probed(found) => found,
        Reply::Misconfigured(why) => Err(misconfigured(&why).message),
        _ => Err(no_opener(OTHER_ANSWER).message),
    }
}

fn misconfigured(why: &str) -> Refusal {
    Refusal::new(Code::Internal, format!("the opener cannot read its configuration: {why}"))
}
