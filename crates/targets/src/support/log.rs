//! A log as its client sees it, for all kinds of logs: lines that cannot control the client's terminal. They are
//! filtered and paused on the host, so that unwanted bytes are not sent.

mod aside;
mod lines;
mod unblocked;
mod visible;

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, ReadBuf};

use crate::support::opened::{Ask, OpenError, Opened, Output, Unable, cannot};
pub(crate) use aside::Aside;
use lines::{Filter, Lines};
use protocol::failure::Failure;
pub(crate) use unblocked::Unblocked;

/// Bytes read at a time if they are inspected; the result is up to four times as long.
const CHUNK: usize = 64 * 1024;

/// How many bytes a filter inspects before other streams may run: about 40 ms for the worst accepted expression, and
/// some microseconds for others.
const TURN: usize = 8 * 1024;

/// Opens the log again, from a time on (seconds since 1970).
pub(crate) type Again = Box<dyn Fn(u64) -> Reopening + Send + Sync>;

/// A log that is being opened again.
pub(crate) type Reopening = Pin<Box<dyn Future<Output = Result<Output, OpenError>> + Send>>;

/// The stream of a log. Bytes are not changed if `is_raw`. `again` is missing for logs that keep nothing.
pub(crate) fn opened(
    output: impl AsyncRead + Send + Unpin + 'static,
    is_raw: bool,
    again: Option<Again>,
) -> Opened {
    let shared = Arc::new(Controls::default());
    let view = LogStream {
        source: Box::new(output),
        lines: Lines::new(is_raw),
        opening: None,
        again,
        shared: shared.clone(),
    };
    let can_go_back = view.again.is_some();
    let mut opened = Opened::read_only(view);
    opened.asked = Box::new(move |ask| shared.ask(ask, can_go_back));
    opened
}

/// The client's requests that are not carried out yet.
#[derive(Default)]
struct Controls {
    requests: Mutex<Requests>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Requests {
    is_paused: bool,
    /// A new filter, or its removal.
    filter: Option<Option<Filter>>,
    since: Option<u64>,
}

impl Controls {
    fn ask(&self, ask: Ask, can_go_back: bool) -> Result<(), Unable> {
        match ask {
            Ask::Pause => self.lock().is_paused = true,
            Ask::Resume => self.lock().is_paused = false,
            Ask::Filter { pattern, .. } if pattern.is_empty() => self.lock().filter = Some(None),
            Ask::Filter { pattern, invert } => {
                self.lock().filter = Some(Some(Filter::new(&pattern, invert)?));
            }
            Ask::Since(time) if can_go_back => self.lock().since = Some(time),
            Ask::Since(_) => {
                return Err(Unable::NothingOlder);
            }
            ask => return cannot(ask),
        }
        self.waker.wake();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct LogStream {
    source: Output,
    lines: Lines,
    opening: Option<Reopening>,
    again: Option<Again>,
    shared: Arc<Controls>,
}

impl LogStream {
    /// Carries out pending requests. Returns whether the log is paused.
    fn is_paused(&mut self) -> bool {
        let mut requests = self.shared.lock();
        if let Some(filter) = requests.filter.take() {
            self.lines.set_filter(filter);
        }
        if let (Some(time), Some(again)) = (requests.since.take(), &self.again) {
            self.opening = Some(again(time));
        }
        requests.is_paused
    }

    fn poll_reopened(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(opening) = &mut self.opening {
            let opened = ready!(opening.as_mut().poll(cx));
            self.opening = None;
            // The requested part is no longer available, and continuing with the rest would hide that.
            self.source = opened.map_err(|error| Failure::Unreadable.error(error))?;
            self.lines.start_over();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for LogStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let view = &mut *self;
        let mut dropped = 0;
        loop {
            view.shared.waker.register(cx.waker());
            if view.is_paused() {
                return Poll::Pending;
            }
            ready!(view.poll_reopened(cx))?;
            if view.lines.give(buf) || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if dropped >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if view.lines.is_passing_all() {
                match ready!(Pin::new(&mut view.source).poll_read(cx, buf)) {
                    Err(error) => view.lines.remark(Aside::from_error(error)?),
                    Ok(()) => return Poll::Ready(Ok(())),
                }
                continue;
            }
            let room = buf.remaining().min(if view.lines.is_unfiltered() { CHUNK } else { TURN });
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
            if let Err(error) = ready!(Pin::new(&mut view.source).poll_read(cx, &mut part)) {
                view.lines.remark(Aside::from_error(error)?);
                continue;
            }
            let read = part.filled();
            match read.len() {
                0 if view.lines.finish() => {}
                0 => return Poll::Ready(Ok(())),
                n if view.lines.is_passing(read) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                n => {
                    view.lines.take(read);
                    dropped += n;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
