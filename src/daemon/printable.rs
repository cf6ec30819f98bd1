//! Text that came over the network, made harmless for a terminal and for a line of a log.

use std::borrow::Cow;

use crate::protocol::name::is_seen;

/// The text on one line. Escaped as in Rust (`\u{1b}`): control characters, and those that change the order of what
/// is shown or are not seen at all.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |char| !is_seen(char))
}

/// The same, but lines and tabs stay as they are: for text of ours that may quote what came over the network.
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
    fn what_acts_on_a_terminal_is_escaped_and_the_rest_is_not() {
        assert_eq!(printable("Größe: 日本 ~"), "Größe: 日本 ~");
        let forged = "a\x1b[2J\r\nb\u{9b}31m\u{202e}\x7f";
        assert_eq!(printable(forged), r"a\u{1b}[2J\r\nb\u{9b}31m\u{202e}\u{7f}");
        assert_eq!(printable_lines("one\n\ttwo\x07"), "one\n\ttwo\\u{7}");
    }
}
