//! What to do about errors of others, in words of `open`'s own arguments.

use anyhow::{Error, anyhow};

/// What is part of an error's text, and the remedy.
const REMEDIES: [(&str, &str); 4] = [
    ("InvalidContentType", "no TLS is spoken at this port: does the address begin with http:// or ws://?"),
    (
        "invalid HTTP version",
        "no plain HTTP is spoken at this port: does the address begin with https:// or wss://?",
    ),
    ("UnknownIssuer", "--ca-file names a file with the certificate of who issued it"),
    ("received unexpected message", "it is not a platform that answers there"),
];

/// The error with its causes, and with what to do where that is known.
pub fn with_remedy(error: impl Into<Error>) -> Error {
    let error = error.into();
    let text = format!("{error:#}");
    match REMEDIES.iter().find(|(part, _)| text.contains(part)) {
        Some((_, remedy)) => anyhow!("{text}; {remedy}"),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_error_has_a_remedy_and_others_are_left_as_they_are() {
        let said = with_remedy(anyhow!("invalid peer certificate: UnknownIssuer").context("platform"));
        assert!(said.to_string().starts_with("platform: invalid peer certificate: UnknownIssuer; --ca-file"));
        assert_eq!(with_remedy(anyhow!("inner").context("outer")).to_string(), "outer");
    }
}
