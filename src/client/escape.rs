//! The user's way out of a console that takes every key: `~.` after a line's end, as in ssh(1).

use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::oneshot;

use super::terminal;

/// How much may be typed ahead of a stream that takes nothing, in bytes. The escape is found within it.
const TYPED_AHEAD: usize = 1024 * 1024;

/// What is read at once, in bytes.
const PIECE: usize = 4096;

/// The key that begins an escape, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Every byte goes to the target.
    None,
    /// This one does not, where it is the first of a line.
    Key(u8),
}

impl Default for Escape {
    fn default() -> Escape {
        Escape::Key(b'~')
    }
}

impl FromStr for Escape {
    type Err = String;

    /// A character, `^` and a letter for a control character, or `none`.
    fn from_str(text: &str) -> Result<Escape, String> {
        match text.as_bytes() {
            b"none" => Ok(Escape::None),
            [b'^', letter @ (b'@'..=b'_' | b'a'..=b'z')] if !matches!(letter & 0x1f, b'\r' | b'\n') => {
                Ok(Escape::Key(letter & 0x1f))
            }
            [key] if key.is_ascii_graphic() && !matches!(key, b'.' | b'?') => Ok(Escape::Key(*key)),
            _ => Err("expected one character such as ~, a control character such as ^], or none".into()),
        }
    }
}

impl Escape {
    /// The key as the user knows it.
    fn shown(key: u8) -> String {
        match key.is_ascii_control() {
            true => format!("^{}", char::from(key | 0x40)),
            false => char::from(key).to_string(),
        }
    }

    /// Tells the user of it.
    pub fn announce(self) {
        if let Escape::Key(key) = self {
            let key = Escape::shown(key);
            terminal::say(&format!("to leave, press Enter, then {key}. ({key}? lists the escapes)"));
        }
    }
}

/// What is typed, without the escapes; and what resolves when the user wants to leave. That is noticed also while
/// the stream takes nothing, so what is typed is read ahead.
pub fn watch<R>(input: R, escape: Escape) -> (Typed<R>, impl Future<Output = ()>)
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let (typed, left) = match escape {
        Escape::None => (Typed::AsItIs(input), None),
        Escape::Key(key) => {
            let (typed, forward) = duplex(PIECE);
            let (leave, left) = oneshot::channel();
            tokio::spawn(read(input, forward, Scanner::new(key), leave));
            (Typed::Scanned(typed), Some(left))
        }
    };
    let left = async {
        // Without a scanner, or with one that has ended, the wish never comes.
        let is_wanted = match left {
            Some(left) => left.await.is_ok(),
            None => false,
        };
        if !is_wanted {
            std::future::pending::<()>().await;
        }
    };
    (typed, left)
}

/// What is typed, and for the target.
pub enum Typed<R> {
    /// Without escapes nothing needs to be looked at.
    AsItIs(R),
    /// What a scanner let pass.
    Scanned(DuplexStream),
}

impl<R: AsyncRead + Unpin> AsyncRead for Typed<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Typed::AsItIs(input) => Pin::new(input).poll_read(cx, buf),
            Typed::Scanned(typed) => Pin::new(typed).poll_read(cx, buf),
        }
    }
}

async fn read(
    mut input: impl AsyncRead + Unpin,
    mut forward: DuplexStream,
    mut scanner: Scanner,
    leave: oneshot::Sender<()>,
) {
    let (mut piece, mut waiting) = ([0; PIECE], Vec::new());
    let mut is_over = false;
    while !is_over || !waiting.is_empty() {
        tokio::select! {
            read = input.read(&mut piece), if !is_over && waiting.len() < TYPED_AHEAD => match read {
                // A terminal that fails is one that has gone.
                Ok(0) | Err(_) => {
                    waiting.extend(scanner.held());
                    is_over = true;
                }
                Ok(count) => for byte in &piece[..count] {
                    match scanner.next(*byte, &mut waiting) {
                        None => {}
                        Some(Wish::Help) => help(scanner.key),
                        Some(Wish::Leave) => {
                            // Nobody waits for it where the stream has just ended by itself.
                            let _ = leave.send(());
                            return;
                        }
                    }
                },
            },
            written = forward.write(&waiting), if !waiting.is_empty() => match written {
                Ok(count) => drop(waiting.drain(..count)),
                Err(_) => return,
            },
        }
    }
    // Fails when the stream is over.
    let _ = forward.shutdown().await;
}

fn help(key: u8) {
    let key = Escape::shown(key);
    terminal::say(&format!("{key}.  leave"));
    terminal::say(&format!("{key}{key}  send one {key}"));
    terminal::say(&format!("{key}?  this list; each only at the beginning of a line"));
}

/// What the user wants of us.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Leave,
    Help,
}

/// Finds escapes among what is typed.
struct Scanner {
    key: u8,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    LineBegin,
    InLine,
    /// Behind an escape key that is held back.
    Escaped,
}

impl Scanner {
    fn new(key: u8) -> Scanner {
        Scanner { key, place: Place::LineBegin }
    }

    /// Takes a byte; what is for the target goes to `forward`.
    fn next(&mut self, byte: u8, forward: &mut Vec<u8>) -> Option<Wish> {
        let place = std::mem::replace(&mut self.place, Place::InLine);
        match (place, byte) {
            (Place::LineBegin, byte) if byte == self.key => {
                self.place = Place::Escaped;
                return None;
            }
            (Place::Escaped, b'.') => return Some(Wish::Leave),
            (Place::Escaped, b'?') => {
                self.place = Place::LineBegin;
                return Some(Wish::Help);
            }
            (Place::Escaped, byte) if byte != self.key => forward.push(self.key),
            _ => {}
        }
        if matches!(byte, b'\r' | b'\n') {
            self.place = Place::LineBegin;
        }
        forward.push(byte);
        None
    }

    /// What is held back when no more comes.
    fn held(&self) -> Option<u8> {
        (self.place == Place::Escaped).then_some(self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// What goes to the target, and what is wanted.
    fn typed(text: &str) -> (String, Vec<Wish>) {
        let (mut scanner, mut forward) = (Scanner::new(b'~'), Vec::new());
        let wishes = text.bytes().filter_map(|byte| scanner.next(byte, &mut forward)).collect();
        forward.extend(scanner.held());
        (String::from_utf8(forward).unwrap(), wishes)
    }

    #[test]
    fn an_escape_is_one_only_at_the_beginning_of_a_line() {
        assert_eq!(typed("~."), (String::new(), vec![Wish::Leave]));
        assert_eq!(typed("ls\r~."), ("ls\r".into(), vec![Wish::Leave]));
        assert_eq!(typed("ls ~."), ("ls ~.".into(), vec![]));
        assert_eq!(typed("~~.\n~~"), ("~.\n~".into(), vec![]));
        assert_eq!(typed("~/bin\r~"), ("~/bin\r~".into(), vec![]));
        assert_eq!(typed("~\r~."), ("~\r".into(), vec![Wish::Leave]));
        assert_eq!(typed("~?~."), (String::new(), vec![Wish::Help, Wish::Leave]));
    }

    #[test]
    fn the_key_can_be_chosen() {
        for (text, escape) in [
            ("none", Escape::None),
            ("~", Escape::Key(b'~')),
            ("^]", Escape::Key(0x1d)),
            ("%", Escape::Key(b'%')),
        ] {
            assert_eq!(text.parse(), Ok(escape));
        }
        for bad in ["", "^m", "^J", ".", "?", "\r", "ab", "é", "^1"] {
            assert!(bad.parse::<Escape>().is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn the_wish_to_leave_is_noticed_while_nothing_is_taken() {
        let (mut keys, input) = duplex(64);
        let (_untaken, left) = watch(input, Escape::default());
        keys.write_all(&[b'x'; 50_000]).await.unwrap();
        keys.write_all(b"\r~.").await.unwrap();
        timeout(Duration::from_secs(20), left).await.unwrap();
    }

    #[tokio::test]
    async fn everything_else_arrives_and_then_the_end() {
        let (mut keys, input) = duplex(64);
        let (mut taken, left) = watch(input, Escape::default());
        keys.write_all(b"a~.\n~~b\n~").await.unwrap();
        drop(keys);
        let mut all = String::new();
        taken.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "a~.\n~b\n~");
        drop(left);
    }
}
