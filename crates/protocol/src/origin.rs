//! Browser origins (RFC 6454) in the spelling that browsers send: `HTTPS://App.example.com:443/` in a configuration
//! equals `https://app.example.com` in a header.

use url::{ParseError, Position, Url};

/// An origin as browsers write it: scheme and host in lower case, no default port, no slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// Parses an origin from a configuration.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<WebOrigin, WebOriginError> {
        let wrong = |why: &'static str| WebOriginError { text: text.to_owned(), why };
        if text == "*" {
            return Err(wrong("leave origins out to allow every origin"));
        }
        let url = Url::parse(text).map_err(|error| {
            wrong(match error {
                ParseError::IdnaError => {
                    "write a host name with other than ASCII letters in punycode (xn--…)"
                }
                _ => "write scheme and host, such as https://app.example.com",
            })
        })?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("write scheme and host, such as https://app.example.com"));
        }
        if matches!(url.scheme(), "ws" | "wss") {
            return Err(wrong("write the address of the page, which begins with https:// or http://"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("an origin has no path: write only scheme, host and port"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("an origin has no user: write only scheme, host and port"));
        }
        // Not `Url::origin`, which has no origin for browser extensions.
        Ok(WebOrigin(url[..Position::AfterPort].to_ascii_lowercase()))
    }

    /// An origin from a browser's `Origin` header or from a grant. A text that does not parse (`null`) equals only
    /// itself.
    pub fn received(text: &str) -> WebOrigin {
        WebOrigin::parse(text).unwrap_or_else(|_| WebOrigin(text.to_owned()))
    }

    /// The origin in the spelling of browsers.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a browser origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a browser origin: {why}")]
pub struct WebOriginError {
    text: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_becomes_that_of_browsers() {
        for (written, sent) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://app.example.com/", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443"),
            ("moz-extension://ABCdef", "moz-extension://abcdef"),
        ] {
            assert_eq!(WebOrigin::parse(written).unwrap().as_str(), sent, "{written}");
            assert_eq!(WebOrigin::received(sent), WebOrigin::parse(written).unwrap());
        }
    }

    #[test]
    fn what_could_never_match_is_refused_with_what_to_write() {
        for (written, word) in [
            ("*", "leave origins out"),
            ("app.example.com", "such as https://"),
            ("https://", "such as https://"),
            ("https://a/page", "no path"),
            ("https://a/?q", "no path"),
            ("https://me@a", "no user"),
            ("wss://a", "begins with https://"),
            ("https://bücher.example", "punycode"),
            ("null", "such as https://"),
            ("", "such as https://"),
        ] {
            let error = WebOrigin::parse(written).unwrap_err().to_string();
            assert!(error.contains(word), "{written}: {error}");
        }
        assert_eq!(WebOrigin::received("null").as_str(), "null");
    }
}
