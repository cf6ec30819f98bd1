//! The file that lets a SPICE viewer open a session through the relay: `remote-viewer FILE`, or a click on it.
//!
//! The viewer takes the relay for an HTTP proxy and the token for the name of the host behind it. So it needs no other
//! program and no open port.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::headers::STREAM_PATH;
use super::plain::plain;
use super::token::{Token, TokenError};

/// The type of the file, for HTTP and for desktops.
pub const CONTENT_TYPE: &str = "application/x-virt-viewer";

/// A name for the file where its receiver can choose none.
pub const FILE_NAME: &str = "screen.vv";

/// The user in `Proxy-Authorization`, which the relay does not look at.
const USER: &str = "stream";

/// The longest title, in bytes.
const MAX_TITLE: usize = 200;

/// What a viewer needs to open one session.
#[derive(Debug)]
pub struct ViewerFile<'a> {
    /// The URL for clients, with the token in its path: what a platform answers.
    pub url: &'a str,
    /// What the viewer shows on each of its connections, so that the later ones are known to be its own: new for each
    /// file.
    pub secret: &'a Token,
    /// The title of the window: host and target, mostly.
    pub title: &'a str,
}

/// Why there can be no file for a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewerFileError {
    /// It is not `ws://` or `wss://`, or has no token at its end.
    #[error("it does not end with {STREAM_PATH} and a token")]
    NotOurs,
    /// A proxy in front of the relay serves it below a path, and a viewer knows no path of a proxy.
    #[error("the relay is below a path, and a viewer can reach a relay by its host and port only")]
    BelowAPath,
}

impl ViewerFile<'_> {
    /// The contents of the file. They are a secret: its holder can be the client.
    ///
    /// # Errors
    /// If a viewer cannot use the URL.
    pub fn text(&self) -> Result<String, ViewerFileError> {
        let url = Url::parse(self.url).map_err(|_| ViewerFileError::NotOurs)?;
        let scheme = match url.scheme() {
            "wss" => "https",
            "ws" => "http",
            _ => return Err(ViewerFileError::NotOurs),
        };
        let (prefix, token) = url.path().split_once(STREAM_PATH).ok_or(ViewerFileError::NotOurs)?;
        let token: Token = token.parse().map_err(|_| ViewerFileError::NotOurs)?;
        if !prefix.is_empty() {
            return Err(ViewerFileError::BelowAPath);
        }
        let (host, port) = (url.host_str(), url.port_or_known_default());
        let (Some(host), Some(port)) = (host, port) else { return Err(ViewerFileError::NotOurs) };
        let mut text = String::from("[virt-viewer]\ntype=spice\n");
        let mut line = |key: &str, value: &str| {
            // A write to a string does not fail.
            let _ = writeln!(text, "{key}={value}");
        };
        line("host", &token.reveal_as_host());
        // Any port: the relay does not look at it.
        line("port", "1");
        line("proxy", &format!("{scheme}://{USER}:{}@{host}:{port}", self.secret.reveal()));
        line("delete-this-file", "1");
        line("title", &escaped(self.title));
        line("secure-attention", "ctrl+alt+end");
        Ok(text)
    }
}

/// A text as the value of a key (GLib's key files): on one line, with no space at its begin.
fn escaped(text: &str) -> String {
    plain(text, MAX_TITLE).trim().replace('\\', r"\\")
}

/// The secret in a viewer's `Proxy-Authorization`: the password, in 43 characters like a token.
///
/// # Errors
/// [`TokenError::Malformed`] if it is anything else.
pub fn secret(proxy_authorization: &str) -> Result<Token, TokenError> {
    let (scheme, credentials) = proxy_authorization.split_once(' ').ok_or(TokenError::Malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(TokenError::Malformed);
    }
    let credentials = STANDARD.decode(credentials.trim()).map_err(|_| TokenError::Malformed)?;
    let credentials = String::from_utf8(credentials).map_err(|_| TokenError::Malformed)?;
    let (_, password) = credentials.split_once(':').ok_or(TokenError::Malformed)?;
    password.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(url: &str, title: &str) -> Result<String, ViewerFileError> {
        let secret: Token = "A".repeat(43).parse().unwrap();
        ViewerFile { url, secret: &secret, title }.text()
    }

    #[test]
    fn a_viewer_gets_the_relay_as_its_proxy_and_the_token_as_its_host() {
        let token = "A".repeat(43);
        let expected = format!(
            "[virt-viewer]\ntype=spice\nhost={}\nport=1\nproxy=https://stream:{}@relay.example.com:443\n\
             delete-this-file=1\ntitle=vm1 on h1\nsecure-attention=ctrl+alt+end\n",
            "a".repeat(52),
            "A".repeat(43)
        );
        assert_eq!(
            text(&format!("wss://relay.example.com/v1/stream/{token}"), "vm1 on h1").unwrap(),
            expected
        );
        for (url, proxy) in [
            ("ws://127.0.0.1:8080", "@127.0.0.1:8080\n"),
            ("wss://[::1]:8443", "@[::1]:8443\n"),
            ("wss://relay:443", "@relay:443\n"),
        ] {
            let text = text(&format!("{url}/v1/stream/{token}"), "").unwrap();
            assert!(text.contains(proxy), "{text}");
        }
    }

    #[test]
    fn a_title_adds_no_line_and_no_key() {
        let url = format!("wss://relay/v1/stream/{}", "A".repeat(43));
        let text = text(&url, " a\nproxy=http://evil\r\\n\u{202e}\u{85}x\0").unwrap();
        assert_eq!(text.lines().count(), 8);
        assert!(text.contains("\ntitle=a proxy=http://evil \\\\n  x\n"), "{text}");
        assert_eq!(escaped(&"é".repeat(500)).len(), MAX_TITLE);
    }

    #[test]
    fn a_url_that_no_viewer_can_use_is_an_error() {
        let token = "A".repeat(43);
        for (url, why) in [
            (format!("wss://relay/below/v1/stream/{token}"), ViewerFileError::BelowAPath),
            ("wss://relay/v1/stream/short".into(), ViewerFileError::NotOurs),
            (format!("https://relay/v1/stream/{token}"), ViewerFileError::NotOurs),
            (format!("wss://relay/v1/stream/{token}/x"), ViewerFileError::NotOurs),
            ("nonsense".into(), ViewerFileError::NotOurs),
        ] {
            assert_eq!(text(&url, ""), Err(why), "{url}");
        }
    }

    #[test]
    fn a_secret_is_the_password_that_a_viewer_sends() {
        let token = Token::generate().unwrap();
        let sent = |scheme: &str, pair: &str| secret(&format!("{scheme} {}", STANDARD.encode(pair)));
        let pair = format!("stream:{}", token.reveal());
        assert_eq!(sent("Basic", &pair), Ok(token.clone()));
        assert_eq!(sent("basic", &format!(":{}", token.reveal())), Ok(token));
        for (scheme, pair) in [("Bearer", pair.as_str()), ("Basic", "stream"), ("Basic", "stream:short")] {
            assert_eq!(sent(scheme, pair), Err(TokenError::Malformed));
        }
        assert_eq!(secret("Basic"), Err(TokenError::Malformed));
        assert_eq!(secret("Basic \u{7f}"), Err(TokenError::Malformed));
    }
}
