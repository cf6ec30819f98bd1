//! A client's URL from a file: it holds a token, so it never stands in an argument.

use std::io::Read;
use std::path::Path;

use anyhow::Context;

use crate::daemon::exit::{Exit, ExitError, OrExit};

/// The longest URL, in bytes.
const MAX_URL: u64 = 16 * 1024;

/// Reads the first line of a file; `-` is standard input.
///
/// # Errors
/// When it cannot be read.
pub fn read_url(file: &Path) -> Result<String, ExitError> {
    let text = if file == Path::new("-") {
        // A line, so that what follows it can be the stream's input: nothing is read ahead.
        first_line(Unbuffered).context("standard input").or_exit(Exit::DataErr)?
    } else {
        let read = || format!("cannot read {}", file.display());
        first_line(std::fs::File::open(file).with_context(read).or_exit(Exit::DataErr)?)
            .with_context(read)
            .or_exit(Exit::DataErr)?
    };
    Ok(text.trim().to_owned())
}

/// Standard input without the buffer that the standard library puts before it.
struct Unbuffered;

impl Read for Unbuffered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(nix::unistd::read(std::io::stdin(), buffer)?)
    }
}

/// Up to the first line break, byte by byte: what comes after it stays unread.
fn first_line(source: impl Read) -> std::io::Result<String> {
    let (mut line, mut byte, mut source) = (Vec::new(), [0], source.take(MAX_URL));
    while source.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    String::from_utf8(line).map_err(|_| std::io::Error::other("not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_is_read() {
        let mut source = &b"url\nrest"[..];
        assert_eq!(first_line(&mut source).unwrap(), "url");
        assert_eq!(source, b"rest");
        assert_eq!(first_line(&b"url"[..]).unwrap(), "url");
        assert!(first_line(&b"\xff"[..]).is_err());
    }
}
