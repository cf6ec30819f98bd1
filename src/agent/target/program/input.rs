//! A program's input, and how the program learns that no more will come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::unistd::write;
use tokio::io::AsyncWrite;
use tokio::net::unix::pipe::Sender;
use tokio::time::sleep;

use super::pty::{Pty, Reading, WeakPty};

/// A program's standard input; closed by shutting down.
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

/// What is typed at a terminal. A terminal cannot be closed for writing alone, so shutting down starts to type
/// what ends the input there ([`Ending`]).
pub(super) struct PtyInput {
    pty: Pty,
    is_line_begun: bool,
    is_shut: bool,
}

impl PtyInput {
    pub(super) fn new(pty: Pty) -> PtyInput {
        PtyInput { pty, is_line_begun: false, is_shut: false }
    }
}

impl AsyncWrite for PtyInput {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = loop {
            let mut guard = ready!(self.pty.as_ref().poll_write_ready(cx))?;
            match guard.try_io(|fd| write(fd.get_ref(), bytes).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(done) => break done?,
                Err(_would_block) => {}
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
            let ending = Ending { is_line_begun: self.is_line_begun, ..Ending::default() };
            tokio::spawn(ending.run(self.pty.downgrade()));
        }
        Poll::Ready(Ok(()))
    }
}

/// The end of a terminal's input, typed until a program takes it.
///
/// Once is not enough. A shell that is still starting, or that runs a command, has the terminal read by lines; when
/// it takes over and reads key by key, the kernel turns an end that nobody has read yet into a NUL. So it is typed
/// again whenever everything before it was read and the program still runs.
#[derive(Default)]
struct Ending {
    /// The last thing typed was not a line's end.
    is_line_begun: bool,
    /// An end key was typed while the terminal was read by lines: the first one hands over a line that was begun.
    was_handed_over: bool,
    /// End keys in a row for a program that reads key by key.
    ignored: u32,
}

/// The first pause between two looks at the terminal, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A program that reads key by key and was told so often does not take the key as an end: it would do something
/// else with each. More than the ten that a shell with IGNOREEOF asks for.
const MOST_IGNORED: u32 = 16;

impl Ending {
    /// Until the terminal is closed, which the program's end or the stream's brings about.
    async fn run(mut self, terminal: WeakPty) {
        let mut pause = FIRST_LOOK;
        while let Some(pty) = terminal.upgrade() {
            let Some(reading) = pty.reading() else { return };
            if let Some(key) = self.next_key(&reading) {
                pty.type_key(key);
            }
            drop(pty);
            sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// What to type now.
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
        // As a pipe's end does, this one ends a last line that has no line end.
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
        let mut ending = Ending::default();
        assert_eq!(ending.next_key(&Reading { has_unread: true, ..LINES }), None);
        assert_eq!(ending.next_key(&LINES), Some(4));
        assert_eq!(ending.next_key(&Reading { has_unread: true, ..KEYS }), None);
        for _ in 0..MOST_IGNORED {
            assert_eq!(ending.next_key(&KEYS), Some(4));
        }
        assert_eq!(ending.next_key(&KEYS), None);
        // Another program reads now.
        assert_eq!(ending.next_key(&LINES), Some(4));
        assert_eq!(ending.next_key(&KEYS), Some(4));
    }

    #[test]
    fn a_last_line_without_its_end_is_handed_over() {
        let mut ending = Ending { is_line_begun: true, ..Ending::default() };
        assert_eq!([ending.next_key(&KEYS), ending.next_key(&KEYS)], [Some(b'\r'), Some(4)]);
        // Handed over by the kernel, and read by lines.
        let mut ending = Ending { is_line_begun: true, ..Ending::default() };
        assert_eq!(
            [LINES, LINES, KEYS].map(|reading| ending.next_key(&reading)),
            [Some(4), Some(4), Some(4)]
        );
        // Handed over, and read key by key: the shell still waits for the line's end.
        let mut ending = Ending { is_line_begun: true, ..Ending::default() };
        assert_eq!(
            [LINES, KEYS, KEYS].map(|reading| ending.next_key(&reading)),
            [Some(4), Some(b'\r'), Some(4)]
        );
    }
}
