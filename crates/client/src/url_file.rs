//! Reads a client's URL from a file: it has a token, so it must not be an argument.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow};

use service::exit::{Exit, ExitError, OrExit};
use websocket::address::Address;
use websocket::error::DialError;

/// The rest of a longer line is not read, in bytes.
const MAX_URL: u64 = 16 * 1024;

/// Reads the first line of a file. `-` is standard input.
///
/// # Errors
/// If it cannot be read, or is not a URL.
pub(crate) fn read_url(file: &Path) -> Result<String, ExitError> {
    let is_input = file == Path::new("-");
    let name = if is_input { "standard input".to_owned() } else { file.display().to_string() };
    let text = if is_input {
        // Reads no more than the line, because what follows can be the stream's input.
        first_line(Unbuffered).with_context(|| name.clone()).or_exit(Exit::DataErr)?
    } else {
        let read = || format!("cannot read {}", file.display());
        first_line(std::fs::File::open(file).with_context(read).or_exit(Exit::DataErr)?)
            .with_context(read)
            .or_exit(Exit::DataErr)?
    };
    check(behind_page(text.trim()))
        .map(str::to_owned)
        .map_err(|why| anyhow!("{name}: {why}"))
        .or_exit(Exit::DataErr)
}

/// The session's URL in that of the page which shows the session (`https://relay/view#wss://…`).
fn behind_page(line: &str) -> &str {
    let is_page = line.starts_with("https://") || line.starts_with("http://");
    line.split_once("/view#").filter(|_| is_page).map_or(line, |(_, url)| url)
}

/// The error does not repeat the line: it may have a token or another secret.
fn check(line: &str) -> Result<&str, String> {
    const EXPECTED: &str = "expected a URL such as wss://relay.example.com/v1/stream/TOKEN";
    let why = match line {
        "" => "its first line is empty",
        _ if line.starts_with('\u{feff}') => "it begins with a byte order mark, which is no part of a URL",
        _ if line.starts_with(['"', '\'', '<']) => "its first line is in quotes or brackets: leave them out",
        _ if line.starts_with('{') => "it holds JSON: write the value of \"url\" alone into it (jq -r .url)",
        _ if line.starts_with("http://") => "its URL begins with http://: write ws://",
        _ if line.starts_with("https://") => "its URL begins with https://: write wss://",
        _ if line.contains(char::is_whitespace) => "its first line is several words",
        _ => match Address::parse(line) {
            Ok(_) => return Ok(line),
            Err(DialError::Url(why)) if why.contains("without a base") => "its first line is not a URL",
            Err(error) => return Err(format!("{error}: {EXPECTED}")),
        },
    };
    Err(format!("{why}: {EXPECTED}"))
}

/// Standard input without the buffer of the standard library.
struct Unbuffered;

impl Read for Unbuffered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(nix::unistd::read(std::io::stdin(), buffer)?)
    }
}

/// Reads byte by byte, so that what follows the line break stays unread.
fn first_line(source: impl Read) -> std::io::Result<String> {
    let (mut line, mut byte, mut source) = (Vec::new(), [0], source.take(MAX_URL));
    while source.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    String::from_utf8(line).map_err(|_| std::io::Error::other("it is not text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_repeat_the_line() {
        for (line, why) in [
            ("", "its first line is empty"),
            ("secret", "its first line is not a URL"),
            ("two secrets", "several words"),
            ("\u{feff}wss://a/secret", "byte order mark"),
            ("\"wss://a/secret\"", "in quotes"),
            ("{\"url\":\"secret\"}", "jq -r .url"),
            ("https://a/secret", "write wss://"),
            ("ftp://a/secret", "URL begins with ftp://"),
            ("wss://a:99999/secret", "invalid port number"),
        ] {
            let text = check(line).unwrap_err();
            assert!(text.contains(why) && text.contains("expected a URL such as wss://"), "{text}");
            assert!(!text.replace("several", "").contains("secret"), "{text}");
        }
        assert!(check("wss://a/v1/stream/x").is_ok());
    }

    #[test]
    fn the_url_of_the_page_has_that_of_the_session() {
        for (line, url) in [
            ("https://a/x/view#wss://a/x/v1/stream/t", "wss://a/x/v1/stream/t"),
            ("http://a/view#secret", "secret"),
            ("wss://a/view#x", "wss://a/view#x"),
            ("https://a/v1/stream/t", "https://a/v1/stream/t"),
        ] {
            assert_eq!(behind_page(line), url);
        }
    }

    #[test]
    fn only_the_first_line_is_read() {
        let mut source = &b"url\nrest"[..];
        assert_eq!(first_line(&mut source).unwrap(), "url");
        assert_eq!(source, b"rest");
        assert_eq!(first_line(&b"url"[..]).unwrap(), "url");
        assert!(first_line(&b"\xff"[..]).is_err());
    }
}
