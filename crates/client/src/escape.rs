//! How the user leaves a console that receives every key: `~.` at the start of a line, as in ssh(1).

use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::oneshot;

use super::terminal;

/// How many bytes are read ahead of a stream that takes none, to find the escape.
const READ_AHEAD: usize = 1024 * 1024;

/// Bytes per read.
const PIECE: usize = 4096;

/// The key that begins an escape, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// Every byte goes to the target.
    None,
    /// This byte, at the start of a line, begins an escape.
    Key(u8),
}

impl Default for Escape {
    fn default() -> Escape {
        Escape::Key(b'~')
    }
}

impl FromStr for Escape {
    type Err = String;

    /// Expects a character, `^` and a letter for a control character, or `none`.
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
    /// The key as users write it.
    fn label(key: u8) -> String {
        match key.is_ascii_control() {
            true => format!("^{}", char::from(key | 0x40)),
            false => char::from(key).to_string(),
        }
    }

    /// Shows the user how to leave.
    pub(crate) fn announce(self) {
        if let Escape::Key(key) = self {
            let key = Escape::label(key);
            terminal::notify(&format!("to leave, press Enter, then {key}. ({key}? lists the escapes)"));
        }
    }
}

/// Returns the input without the escapes, and a future that resolves when the user wants to leave. The input is read
/// ahead, so that an escape works while the stream takes nothing.
pub(crate) fn watch<R>(input: R, escape: Escape) -> (Input<R>, impl Future<Output = ()>)
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let (typed, left) = match escape {
        Escape::None => (Input::Unscanned(input), None),
        Escape::Key(key) => {
            let (typed, forward) = duplex(PIECE);
            let (leave, left) = oneshot::channel();
            tokio::spawn(read(input, forward, Scanner::new(key), leave));
            (Input::Scanned(typed), Some(left))
        }
    };
    let left = async {
        // Without a scanner, or after it ended, the user cannot leave this way.
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

/// The bytes for the target.
pub(crate) enum Input<R> {
    /// There is no escape key.
    Unscanned(R),
    /// The bytes that a scanner passed on.
    Scanned(DuplexStream),
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Input::Unscanned(input) => Pin::new(input).poll_read(cx, buf),
            Input::Scanned(typed) => Pin::new(typed).poll_read(cx, buf),
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
            read = input.read(&mut piece), if !is_over && waiting.len() < READ_AHEAD => match read {
                // An error means that the terminal is gone.
                Ok(0) | Err(_) => {
                    waiting.extend(scanner.held());
                    is_over = true;
                }
                Ok(count) => for byte in &piece[..count] {
                    match scanner.next(*byte, &mut waiting) {
                        None => {}
                        Some(Action::Help) => help(scanner.key),
                        Some(Action::Leave) => {
                            // Fails if the stream has just ended by itself.
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
    // Fails if the stream is over.
    let _ = forward.shutdown().await;
}

fn help(key: u8) {
    let key = Escape::label(key);
    terminal::notify(&format!("{key}.  leave"));
    terminal::notify(&format!("{key}{key}  send one {key}"));
    terminal::notify(&format!("{key}?  this list; each only at the beginning of a line"));
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Leave,
    Help,
}

/// Finds escapes in the input.
struct Scanner {
    key: u8,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    InLine,
    /// After an escape key that is held back.
    Escaped,
}

impl Scanner {
    fn new(key: u8) -> Scanner {
        Scanner { key, state: State::LineStart }
    }

    /// Scans one byte. Bytes for the target go to `forward`.
    fn next(&mut self, byte: u8, forward: &mut Vec<u8>) -> Option<Action> {
        let state = std::mem::replace(&mut self.state, State::InLine);
        match (state, byte) {
            (State::LineStart, byte) if byte == self.key => {
                self.state = State::Escaped;
                return None;
            }
            (State::Escaped, b'.') => return Some(Action::Leave),
            (State::Escaped, b'?') => {
                self.state = State::LineStart;
                return Some(Action::Help);
            }
            (State::Escaped, byte) if byte != self.key => forward.push(self.key),
            _ => {}
        }
        if matches!(byte, b'\r' | b'\n') {
            self.state = State::LineStart;
        }
        forward.push(byte);
        None
    }

    /// The byte that is held back, for the end of the input.
    fn held(&self) -> Option<u8> {
        (self.state == State::Escaped).then_some(self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// The bytes for the target, and the actions.
    fn scan(text: &str) -> (String, Vec<Action>) {
        let (mut scanner, mut forward) = (Scanner::new(b'~'), Vec::new());
        let actions = text.bytes().filter_map(|byte| scanner.next(byte, &mut forward)).collect();
        forward.extend(scanner.held());
        (String::from_utf8(forward).unwrap(), actions)
    }

    #[test]
    fn an_escape_counts_only_at_the_start_of_a_line() {
        assert_eq!(scan("~."), (String::new(), vec![Action::Leave]));
        assert_eq!(scan("ls\r~."), ("ls\r".into(), vec![Action::Leave]));
        assert_eq!(scan("ls ~."), ("ls ~.".into(), vec![]));
        assert_eq!(scan("~~.\n~~"), ("~.\n~".into(), vec![]));
        assert_eq!(scan("~/bin\r~"), ("~/bin\r~".into(), vec![]));
        assert_eq!(scan("~\r~."), ("~\r".into(), vec![Action::Leave]));
        assert_eq!(scan("~?~."), (String::new(), vec![Action::Help, Action::Leave]));
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
    async fn the_escape_works_while_the_stream_takes_nothing() {
        let (mut keys, input) = duplex(64);
        let (_untaken, left) = watch(input, Escape::default());
        keys.write_all(&[b'x'; 50_000]).await.unwrap();
        keys.write_all(b"\r~.").await.unwrap();
        timeout(Duration::from_secs(20), left).await.unwrap();
    }

    #[tokio::test]
    async fn all_other_bytes_arrive_and_then_the_end() {
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
