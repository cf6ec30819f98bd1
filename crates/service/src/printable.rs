//! Escapes text from the network, for terminals and log lines.

use std::borrow::Cow;

use protocol::name::is_seen;

/// The text on one line. Control characters, invisible ones and those that change the direction of text are escaped as
/// in Rust (`\u{1b}`).
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |char| !is_seen(char))
}

/// Like [`printable`], but keeps line breaks and tabs: for our own text that may quote text from the network.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |char| !is_seen(char) && !matches!(char, '\n' | '\t'))
}

fn escaped(text: &str, is_harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match is_harmful(char) {
            true => safe.extend(char.escape_default()),
            false => safe.push(char),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_others_are_not() {
        assert_eq!(printable("Größe: 日本 ~"), "Größe: 日本 ~");
        let forged = "a\x1b[2J\r\nb\u{9b}31m\u{202e}\x7f";
        assert_eq!(printable(forged), r"a\u{1b}[2J\r\nb\u{9b}31m\u{202e}\u{7f}");
        assert_eq!(printable_lines("one\n\ttwo\x07"), "one\n\ttwo\\u{7}");
    }
}
