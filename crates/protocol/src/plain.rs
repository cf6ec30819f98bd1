//! Text from outside, cleaned for a log line, a record or a close reason.

use super::name::is_seen;

/// `text` on one line: each character that is invisible, or changes the direction of others, becomes a space. Cut to
/// `most` bytes, but not inside of a character.
pub fn plain(text: &str, most: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(most));
    for character in text.chars().map(|character| if is_seen(character) { character } else { ' ' }) {
        if plain.len() + character.len_utf8() > most {
            break;
        }
        plain.push(character);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_seen_is_left_and_no_character_is_cut_in_two() {
        assert_eq!(plain("a\nb\x1b[31m\u{9b}c\u{202e}d\0", 99), "a b [31m c d ");
        assert_eq!(plain("äöü", 5), "äö");
        assert_eq!(plain("äöü", 6), "äöü");
        assert_eq!(plain(&"x".repeat(1 << 20), 123).len(), 123);
    }
}
