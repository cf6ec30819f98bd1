//! Names of users and keys, which people read: without characters that make one name look like another.

use std::borrow::Cow;

/// The longest name, in bytes, so that log lines stay short.
pub const MAX_NAME: usize = 256;

/// The rule for names, for error messages.
pub const WHAT_A_NAME_IS: &str = "a name of 1 to 256 bytes, without control, bidirectional or invisible characters, and no space at an end";

/// Invisible characters that `Debug` does not escape.
const INVISIBLE: [std::ops::RangeInclusive<char>; 9] = [
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{e0100}'..='\u{e01ef}',
];

/// Whether `text` follows the rule [`WHAT_A_NAME_IS`].
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.trim() == text && text.chars().all(is_seen)
}

/// The text for a record: cut to [`MAX_NAME`], and with invisible characters escaped as in Rust (`\n`, `\u{202e}`).
pub fn shown(text: &str) -> Cow<'_, str> {
    let end = (0..=MAX_NAME.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    let cut = &text[..end.unwrap_or(0)];
    if cut.chars().all(is_seen) {
        return Cow::Borrowed(cut);
    }
    let escaped =
        cut.chars().map(|c| if is_seen(c) { c.to_string() } else { c.escape_default().to_string() });
    Cow::Owned(escaped.collect())
}

/// Whether a character is visible, and does not change the direction of others.
pub fn is_seen(c: char) -> bool {
    // `Debug` escapes control, format (also bidirectional), private and unassigned characters, and special spaces. It
    // escapes a combining mark only if no letter is before it, so one is put there.
    let printed = ["a", c.encode_utf8(&mut [0; 4])].concat();
    let is_printed = matches!(c, '"' | '\'' | '\\') || printed.escape_debug().count() == 2;
    is_printed && !INVISIBLE.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_everywhere_are_names() {
        for name in
            ["me", "alice@example.com", "CN=Ünal Ö., O=\"X\"", "DOMAIN\\bob", "李小龍", "हिन्दी", "e\u{301}"]
        {
            assert!(is_name(name) && shown(name) == name, "{name}");
        }
    }

    #[test]
    fn what_hides_or_reorders_is_not_a_name_and_is_shown_escaped() {
        for (bad, seen) in [
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{200b}", "a\\u{200b}"),
            ("a\u{2066}b", "a\\u{2066}b"),
            ("a\nb", "a\\nb"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("a\u{a0}b", "a\\u{a0}b"),
            ("a\u{3164}b", "a\\u{3164}b"),
            ("a\u{e0041}", "a\\u{e0041}"),
            ("a\u{fe0f}", "a\\u{fe0f}"),
        ] {
            assert!(!is_name(bad), "{bad:?}");
            assert_eq!(shown(bad), seen);
        }
        for bad in ["", " a", "a ", &"x".repeat(257)] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert_eq!(shown(&"ü".repeat(200)).len(), 256);
        assert_eq!(shown(&format!("a{}", "ü".repeat(200))).len(), 255);
    }
}
