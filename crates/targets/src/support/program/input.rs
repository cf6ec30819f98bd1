//! A program's input, and its end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::unistd::write;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;
use tokio::time::sleep;

use super::hangup::Later;
use super::pty::{Pty, Reading, WeakPty};
use crate::support::tasks::spawn;
use net::backoff::Backoff;

/// A program's standard input. Shutting it down closes it.
pub(super) struct PipeInput(Option<Sender>);

impl PipeInput {
    pub(super) fn new(pipe: Sender) -> PipeInput {
        PipeInput(Some(pipe))
    }
}

impl AsyncWrite for PipeInput {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

/// Input that is typed at a terminal. A terminal cannot be closed for writing only, so shutting down starts to type the
/// key that ends the input ([`EndOfInput`]).
pub(super) struct PtyInput {
    pty: Pty,
    /// Set after the first hang-up.
    later: Option<Later>,
    is_line_begun: bool,
    is_shut: bool,
}

impl PtyInput {
    pub(super) fn new(pty: Pty) -> PtyInput {
        PtyInput { pty, later: None, is_line_begun: false, is_shut: false }
    }
}

impl AsyncWrite for PtyInput {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let this = &mut *self;
        let count = loop {
            if let Some(later) = &mut this.later {
                break ready!(Pin::new(&mut later.typed).poll_write(cx, bytes))?;
            }
            match ready!(poll_type(&this.pty, cx, bytes))? {
                Some(count) => break count,
                None => this.later = Some(Later::begin(this.pty.downgrade())),
            }
        };
        if let Some(last) = bytes[..count].last() {
            self.is_line_begun = !matches!(last, b'\n' | b'\r');
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            self.is_shut = true;
            let end = EndOfInput { is_line_begun: self.is_line_begun, ..EndOfInput::default() };
            let (terminal, later) = (self.pty.downgrade(), self.later.take());
            spawn(async move {
                if let Some(Later { typed, delivered }) = later {
                    drop(typed);
                    // Fails if the runtime is shutting down.
                    let _ = delivered.await;
                }
                end.run(terminal).await;
            });
        }
        Poll::Ready(Ok(()))
    }
}

/// Types at a terminal; `None` when it is hung up.
fn poll_type(pty: &Pty, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<Option<usize>>> {
    loop {
        let mut guard = ready!(pty.as_ref().poll_write_ready(cx))?;
        if pty.is_hung_up() {
            return Poll::Ready(Ok(None));
        }
        match guard.try_io(|fd| write(fd.get_ref(), bytes).map_err(io::Error::from)) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(done) => return Poll::Ready(done.map(Some)),
            // It was hung up meanwhile, and the runtime then always reports room to write.
            Err(_would_block) if guard.ready().is_write_closed() => return Poll::Ready(Ok(None)),
            Err(_would_block) => {}
        }
    }
}

/// Types the end of a terminal's input until a program takes it.
///
/// Once is not enough. While a shell starts or runs a command, the terminal is read by lines. When the shell takes over
/// and reads key by key, the kernel turns an unread end into a NUL. So it is typed again whenever all input was read
/// and the program still runs.
#[derive(Default)]
struct EndOfInput {
    /// Whether the last input was not the end of a line.
    is_line_begun: bool,
    /// Whether an end key was typed while the terminal was read by lines: the first one submits an unfinished line.
    was_handed_over: bool,
    /// How many end keys were typed in a row for a program that reads key by key.
    ignored: u32,
}

/// The first pause between two checks of the terminal, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// After so many end keys, a program that reads key by key does not treat the key as an end, and would do something
/// else with each. More than the ten that a shell with IGNOREEOF needs.
const MOST_IGNORED: u32 = 16;

impl EndOfInput {
    /// Runs until the terminal is closed, by the end of the program or of the stream.
    async fn run(mut self, terminal: WeakPty) {
        let mut pauses = Backoff::new(FIRST_LOOK, LAST_LOOK);
        while let Some(pty) = terminal.upgrade() {
            let Some(reading) = pty.reading() else { return };
            if let Some(key) = self.next_key(&reading) {
                pty.type_key(key);
            }
            drop(pty);
            sleep(pauses.wait()).await;
        }
    }

    /// The key to type now, if any.
    fn next_key(&mut self, reading: &Reading) -> Option<u8> {
        if reading.has_unread {
            return None;
        }
        if reading.by_lines {
            self.ignored = 0;
            self.is_line_begun &= !self.was_handed_over;
            self.was_handed_over = true;
            return Some(reading.end_key);
        }
        // Ends a last line without a line end, as the end of a pipe does.
        if std::mem::take(&mut self.is_line_begun) {
            return Some(b'\r');
        }
        self.ignored += 1;
        (self.ignored <= MOST_IGNORED).then_some(reading.end_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: Reading = Reading { by_lines: true, end_key: 4, has_unread: false };
    const KEYS: Reading = Reading { by_lines: false, end_key: 4, has_unread: false };

    #[test]
    fn the_end_is_typed_again_when_a_shell_has_taken_over() {
        let mut end = EndOfInput::default();
        assert_eq!(end.next_key(&Reading { has_unread: true, ..LINES }), None);
        assert_eq!(end.next_key(&LINES), Some(4));
        assert_eq!(end.next_key(&Reading { has_unread: true, ..KEYS }), None);
        for _ in 0..MOST_IGNORED {
            assert_eq!(end.next_key(&KEYS), Some(4));
        }
        assert_eq!(end.next_key(&KEYS), None);
        // Another program reads now.
        assert_eq!(end.next_key(&LINES), Some(4));
        assert_eq!(end.next_key(&KEYS), Some(4));
    }

    #[test]
    fn a_last_line_without_its_end_is_handed_over() {
        let mut end = EndOfInput { is_line_begun: true, ..EndOfInput::default() };
        assert_eq!([end.next_key(&KEYS), end.next_key(&KEYS)], [Some(b'\r'), Some(4)]);
        // Handed over by the kernel, and read by lines.
        let mut end = EndOfInput { is_line_begun: true, ..EndOfInput::default() };
        assert_eq!([LINES, LINES, KEYS].map(|reading| end.next_key(&reading)), [Some(4), Some(4), Some(4)]);
        // Handed over, and read key by key: the shell still waits for the line's end.
        let mut end = EndOfInput { is_line_begun: true, ..EndOfInput::default() };
        assert_eq!(
            [LINES, KEYS, KEYS].map(|reading| end.next_key(&reading)),
            [Some(4), Some(b'\r'), Some(4)]
        );
    }
}
