//! Output that checks at its end what became of the process that wrote it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::support::opened::Output;

/// Output, and then the result of `why`.
pub(super) struct CheckedOutput<F> {
    output: Output,
    why: Option<Pin<Box<F>>>,
    is_over: bool,
}

impl<F> CheckedOutput<F> {
    pub(super) fn new(output: Output, why: Pin<Box<F>>) -> CheckedOutput<F> {
        CheckedOutput { output, why: Some(why), is_over: false }
    }
}

impl<F: Future<Output = io::Result<()>>> AsyncRead for CheckedOutput<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.is_over {
            let before = buf.filled().len();
            let read = ready!(Pin::new(&mut this.output).poll_read(cx, buf));
            match read {
                Ok(()) if buf.filled().len() > before || buf.remaining() == 0 => return Poll::Ready(Ok(())),
                // An engine that stops resets its connections.
                Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                    return Poll::Ready(Err(error));
                }
                _ => this.is_over = true,
            }
        }
        let Some(why) = &mut this.why else { return Poll::Ready(Ok(())) };
        let outcome = ready!(why.as_mut().poll(cx));
        this.why = None;
        Poll::Ready(outcome)
    }
}
