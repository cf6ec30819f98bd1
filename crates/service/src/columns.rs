//! Wraps lines for a terminal: between words, and never inside a command or setting that may be copied.

use std::os::fd::AsFd;

/// On a narrower terminal, lines are not wrapped.
const MIN_WIDTH: usize = 40;

/// Wraps `text` if `to` is a terminal: `indent` spaces begin each further line. Otherwise lines stay whole, for programs
/// that read line by line.
pub fn fit(text: &str, indent: usize, to: &impl AsFd) -> String {
    match terminal_size::terminal_size_of(to) {
        Some((terminal_size::Width(width), _)) if usize::from(width) >= MIN_WIDTH => {
            wrap(text, indent, width.into())
        }
        _ => text.to_owned(),
    }
}

fn wrap(text: &str, indent: usize, width: usize) -> String {
    let lines: Vec<String> = text.lines().map(|line| wrap_line(line, indent, width)).collect();
    lines.join("\n")
}

fn wrap_line(line: &str, indent: usize, width: usize) -> String {
    let trimmed = line.trim_start_matches(' ');
    let before = line.len() - trimmed.len();
    let (mut wrapped, mut column, mut is_first) = (" ".repeat(before), before, true);
    for piece in pieces(trimmed) {
        let length = piece.chars().count();
        if !is_first && column + 1 + length > width {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if !is_first {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(piece);
        column += length;
        is_first = false;
    }
    wrapped
}

/// The parts of a line that stay together: words, texts in quotes or brackets, and `key = value`.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut begun, mut quote, mut depth) = (0, None, 0_usize);
    for (at, character) in line.char_indices() {
        match (character, quote) {
            (_, Some(end)) if character == end => quote = None,
            ('"' | '`', None) => quote = Some(character),
            ('[', None) => depth += 1,
            (']', None) => depth = depth.saturating_sub(1),
            (' ', None) if depth == 0 && !line[..at].ends_with(" =") && !line[at..].starts_with(" = ") => {
                pieces.push(&line[begun..at]);
                begun = at + 1;
            }
            _ => {}
        }
    }
    // An unclosed quote or bracket does not make the rest one piece.
    if quote.is_some() || depth > 0 {
        pieces.extend(line[begun..].split(' '));
    } else {
        pieces.push(&line[begun..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words_and_commands_stay_whole() {
        let text = "FAIL  step: a word and a word and a word\n      set in [nats] of /x: servers = [\"a\", \"b\"], then run \
                    `a long command that is copied as a whole` once more";
        let wrapped = "FAIL  step: a word and a word and a word\n      set in [nats] of /x:\n      servers = [\"a\", \"b\"], then run\n      \
                       `a long command that is copied as a whole`\n      once more";
        assert_eq!(wrap(text, 6, 40), wrapped);
        assert_eq!(wrap("short", 6, 40), "short");
        assert_eq!(
            wrap("it's [open and \"never closed, as a rule\n", 2, 20),
            "it's [open and\n  \"never closed, as\n  a rule"
        );
    }

    #[test]
    fn without_a_terminal_lines_stay_long() {
        let text = "word ".repeat(100);
        assert_eq!(fit(&text, 2, &std::fs::File::open("/dev/null").unwrap()), text);
    }
}
