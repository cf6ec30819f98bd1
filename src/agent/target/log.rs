//! What a client sees of a log, of whatever kind: lines that do nothing to its terminal, filtered and
//! paused on the host, so that bytes which nobody wants are not sent.

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

use super::opened::{Ask, OpenError, Opened, Output, Unable, cannot};
use crate::protocol::failure::Failure;
pub(super) use aside::Aside;
use lines::{Filter, Lines};
pub(super) use unblocked::Unblocked;

/// Bytes read at a time where they are looked at: what they become is up to four times as long.
const CHUNK: usize = 64 * 1024;

/// Bytes that a filter looks at before other streams have their turn: 25 ms of the worst expression that is taken,
/// some microseconds of others.
const TURN: usize = 8 * 1024;

/// Opens the log again, with what was written since a time (seconds since 1970).
pub(super) type Again = Box<dyn Fn(u64) -> Opening + Send + Sync>;

/// A log that is being opened again.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Output, OpenError>> + Send>>;

/// A log as its client sees it. Bytes stay as they are if `is_raw`; logs that keep nothing have no `again`.
pub(super) fn opened(
    output: impl AsyncRead + Send + Unpin + 'static,
    is_raw: bool,
    again: Option<Again>,
) -> Opened {
    let shared = Arc::new(Shared::default());
    let view = View {
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

/// What was asked and not yet done.
#[derive(Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Wishes {
    is_paused: bool,
    /// A new filter, or that there is to be none.
    filter: Option<Option<Filter>>,
    since: Option<u64>,
}

impl Shared {
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

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct View {
    source: Output,
    lines: Lines,
    opening: Option<Opening>,
    again: Option<Again>,
    shared: Arc<Shared>,
}

impl View {
    /// Does what was asked for; whether nothing is to be said now.
    fn is_paused(&mut self) -> bool {
        let mut wishes = self.shared.lock();
        if let Some(filter) = wishes.filter.take() {
            self.lines.set_filter(filter);
        }
        if let (Some(time), Some(again)) = (wishes.since.take(), &self.again) {
            self.opening = Some(again(time));
        }
        wishes.is_paused
    }

    fn poll_reopened(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(opening) = &mut self.opening {
            let opened = ready!(opening.as_mut().poll(cx));
            self.opening = None;
            // What was asked for cannot be had any more, and going on with the rest would hide that.
            self.source = opened.map_err(|error| Failure::Unreadable.error(error))?;
            self.lines.begin_anew();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for View {
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
                    Err(error) => view.lines.remark(Aside::of(error)?),
                    Ok(()) => return Poll::Ready(Ok(())),
                }
                continue;
            }
            let room = buf.remaining().min(if view.lines.is_unfiltered() { CHUNK } else { TURN });
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
            if let Err(error) = ready!(Pin::new(&mut view.source).poll_read(cx, &mut part)) {
                view.lines.remark(Aside::of(error)?);
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
