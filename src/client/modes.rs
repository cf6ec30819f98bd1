//! What a remote program has switched on in the user's terminal, so that it can be switched off when the stream is
//! cut: the alternate screen, mouse reports, a hidden cursor.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// DEC private modes that are off in a fresh terminal and disturb a shell when left on (xterm's control sequences):
/// cursor keys, reverse video, origin, mouse (9, 1000 to 1016), focus, alternate screens, keypad, pasting.
const OFF: [u16; 19] =
    [1, 5, 6, 9, 47, 66, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1048, 1049, 2004];

/// Those that are on: wrapping at the end of a line, and the cursor.
const ON: [u16; 2] = [7, 25];

/// The most parameters of one sequence that are looked at.
const MOST: usize = 16;

/// Ends colours, line drawing characters and the keypad's own codes.
const PLAIN: &str = "\x1b[0m\x0f\x1b>";

/// Reads what is shown on a terminal.
#[derive(Default)]
pub struct Modes {
    changed: BTreeSet<u16>,
    place: Place,
    numbers: Vec<u16>,
    /// A control sequence has come at all.
    has_acted: bool,
}

#[derive(Default)]
enum Place {
    #[default]
    Text,
    Escape,
    Sequence,
    Private,
}

impl Modes {
    fn show(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.next(*byte);
        }
    }

    fn next(&mut self, byte: u8) {
        self.place = match (&self.place, byte) {
            (_, 0x1b) => {
                self.has_acted = true;
                Place::Escape
            }
            (Place::Escape, b'[') => Place::Sequence,
            // A full reset.
            (Place::Escape, b'c') => {
                self.changed.clear();
                Place::Text
            }
            (Place::Sequence, b'?') => {
                self.numbers = vec![0];
                Place::Private
            }
            (Place::Private, digit @ b'0'..=b'9') => {
                if let Some(number) = self.numbers.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(u16::from(digit - b'0'));
                }
                Place::Private
            }
            (Place::Private, b';') if self.numbers.len() < MOST => {
                self.numbers.push(0);
                Place::Private
            }
            (Place::Private, end @ (b'h' | b'l')) => {
                self.set(end == b'h');
                Place::Text
            }
            _ => Place::Text,
        };
    }

    fn set(&mut self, is_on: bool) {
        for number in self.numbers.drain(..) {
            let changes = OFF.contains(&number) && is_on || ON.contains(&number) && !is_on;
            match changes {
                true => self.changed.insert(number),
                false => self.changed.remove(&number),
            };
        }
    }

    /// What makes the terminal as it was.
    fn undo(&self) -> String {
        let undone = |number: &u16| format!("\x1b[?{number}{}", if ON.contains(number) { 'h' } else { 'l' });
        let modes: String = self.changed.iter().map(undone).collect();
        if self.has_acted { modes + PLAIN } else { modes }
    }
}

/// Output to a terminal that is looked at on its way.
pub struct Shown<W> {
    inner: W,
    modes: Arc<Mutex<Modes>>,
}

impl<W> Shown<W> {
    /// What it gives as second is asked when the stream is over.
    pub fn new(inner: W) -> (Shown<W>, Undo) {
        let modes = Arc::new(Mutex::new(Modes::default()));
        (Shown { inner, modes: modes.clone() }, Undo(modes))
    }
}

/// Knows what to write to a terminal whose program was cut off.
pub struct Undo(Arc<Mutex<Modes>>);

impl Undo {
    /// Empty where nothing was changed.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).undo()
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Shown<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.modes.lock().unwrap_or_else(PoisonError::into_inner).show(&bytes[..count]);
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
            modes.show(text.as_bytes());
        }
        modes.undo()
    }

    #[test]
    fn only_what_was_left_on_is_switched_off() {
        assert_eq!(undo(&["plain text"]), "");
        assert_eq!(undo(&["\x1b[31mred"]), PLAIN);
        // In pieces, as they come.
        let vim = ["\x1b[?10", "49h\x1b[?1003;1006h", "\x1b[?25l\x1b[?2026h"];
        assert_eq!(undo(&vim), format!("\x1b[?25h\x1b[?1003l\x1b[?1006l\x1b[?1049l{PLAIN}"));
        assert_eq!(undo(&[&vim[..], &["\x1b[?25h\x1b[?1003;1006;1049l"]].concat()), PLAIN);
        assert_eq!(undo(&["\x1b[?1049h\x1bc"]), PLAIN);
        assert_eq!(undo(&["\x1b[?1;99999999h", "\x1b[1049h"]), format!("\x1b[?1l{PLAIN}"));
    }
}
