//! Tracks what a remote program switches on in the user's terminal (alternate screen, mouse reports, hidden cursor), so
//! that it can be switched off if the stream breaks.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// DEC private modes that are off in a new terminal and disturb a shell when left on (xterm's control sequences):
/// cursor keys, reverse video, origin, mouse (9, 1000 to 1016), focus, alternate screens, keypad, pasting.
const DEFAULT_OFF: [u16; 19] =
    [1, 5, 6, 9, 47, 66, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1048, 1049, 2004];

/// Modes that are on in a new terminal: wrapping at the end of a line, and the cursor.
const DEFAULT_ON: [u16; 2] = [7, 25];

/// Later parameters of one sequence are ignored.
const MAX_PARAMETERS: usize = 16;

/// Ends colours, line drawing characters and the keypad's own codes.
const RESET: &str = "\x1b[0m\x0f\x1b>";

/// The modes that differ from those of a new terminal.
#[derive(Default)]
struct Modes {
    changed: BTreeSet<u16>,
    state: State,
    numbers: Vec<u16>,
    /// Whether there was any control sequence.
    has_sequence: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Text,
    Escape,
    Sequence,
    Private,
}

impl Modes {
    fn scan(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.scan_byte(*byte);
        }
    }

    fn scan_byte(&mut self, byte: u8) {
        self.state = match (&self.state, byte) {
            (_, 0x1b) => {
                self.has_sequence = true;
                State::Escape
            }
            (State::Escape, b'[') => State::Sequence,
            // A full reset.
            (State::Escape, b'c') => {
                self.changed.clear();
                State::Text
            }
            (State::Sequence, b'?') => {
                self.numbers = vec![0];
                State::Private
            }
            (State::Private, digit @ b'0'..=b'9') => {
                if let Some(number) = self.numbers.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(u16::from(digit - b'0'));
                }
                State::Private
            }
            (State::Private, b';') if self.numbers.len() < MAX_PARAMETERS => {
                self.numbers.push(0);
                State::Private
            }
            (State::Private, end @ (b'h' | b'l')) => {
                self.set(end == b'h');
                State::Text
            }
            _ => State::Text,
        };
    }

    fn set(&mut self, is_on: bool) {
        for number in self.numbers.drain(..) {
            let changes = DEFAULT_OFF.contains(&number) && is_on || DEFAULT_ON.contains(&number) && !is_on;
            match changes {
                true => self.changed.insert(number),
                false => self.changed.remove(&number),
            };
        }
    }

    /// The sequences that restore the terminal.
    fn undo(&self) -> String {
        let undone =
            |number: &u16| format!("\x1b[?{number}{}", if DEFAULT_ON.contains(number) { 'h' } else { 'l' });
        let modes: String = self.changed.iter().map(undone).collect();
        if self.has_sequence { modes + RESET } else { modes }
    }
}

/// Output to a terminal, with its modes tracked.
pub(crate) struct TrackedOutput<W> {
    inner: W,
    modes: Arc<Mutex<Modes>>,
}

impl<W> TrackedOutput<W> {
    /// The second value restores the terminal after the stream.
    pub(crate) fn new(inner: W) -> (TrackedOutput<W>, ModeReset) {
        let modes = Arc::new(Mutex::new(Modes::default()));
        (TrackedOutput { inner, modes: modes.clone() }, ModeReset(modes))
    }
}

/// Restores a terminal whose program was cut off.
pub(crate) struct ModeReset(Arc<Mutex<Modes>>);

impl ModeReset {
    /// What to write to the terminal. Empty if nothing was changed.
    pub(crate) fn sequences(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).undo()
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for TrackedOutput<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.modes.lock().unwrap_or_else(PoisonError::into_inner).scan(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(shown: &[&str]) -> String {
        let mut modes = Modes::default();
        for text in shown {
            modes.scan(text.as_bytes());
        }
        modes.undo()
    }

    #[test]
    fn only_modes_that_were_left_on_are_switched_off() {
        assert_eq!(undo(&["plain text"]), "");
        assert_eq!(undo(&["\x1b[31mred"]), RESET);
        // In pieces, as reads return them.
        let vim = ["\x1b[?10", "49h\x1b[?1003;1006h", "\x1b[?25l\x1b[?2026h"];
        assert_eq!(undo(&vim), format!("\x1b[?25h\x1b[?1003l\x1b[?1006l\x1b[?1049l{RESET}"));
        assert_eq!(undo(&[&vim[..], &["\x1b[?25h\x1b[?1003;1006;1049l"]].concat()), RESET);
        assert_eq!(undo(&["\x1b[?1049h\x1bc"]), RESET);
        assert_eq!(undo(&["\x1b[?1;99999999h", "\x1b[1049h"]), format!("\x1b[?1l{RESET}"));
    }
}
