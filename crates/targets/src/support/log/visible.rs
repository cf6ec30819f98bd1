//! Makes control characters of a log visible as text that a terminal does not obey.

use std::str;

/// The first byte of the C1 control characters in UTF-8 (U+0080 to U+009F), which terminals also obey.
const C1: u8 = 0xc2;

/// How many carriage returns before a line's end are held back. If more come, the first ones are shown at once.
const MOST_RETURNS: u8 = 8;

/// Makes bytes visible, no matter how they are split.
#[derive(Debug, Default)]
pub(super) struct Visible {
    /// The beginning of an incomplete character in UTF-8.
    begun: Vec<u8>,
    /// How many carriage returns are held back. Before the end of a line they are dropped: serial consoles and
    /// terminals of containers write them there.
    returns: u8,
}

impl Visible {
    /// Whether these bytes are visible as they are.
    pub(super) fn is_harmless(&self, bytes: &[u8]) -> bool {
        // Has no branches, so that the compiler inspects many bytes at once.
        let (bad, high) = bytes.iter().fold((0u8, 0u8), |(bad, high), byte| {
            let is_control = byte < &0x20 && byte != &b'\n' && byte != &b'\t';
            (bad | u8::from(is_control | (byte == &0x7f) | (byte == &C1)), high | byte)
        });
        let is_whole = self.begun.is_empty() && self.returns == 0;
        is_whole && bad == 0 && (high < 0x80 || str::from_utf8(bytes).is_ok())
    }

    /// Appends the visible form of these bytes.
    pub(super) fn show(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if self.belongs_to_begun(byte, out) {
                continue;
            }
            match byte {
                b'\r' if self.returns < MOST_RETURNS => {
                    self.returns += 1;
                    continue;
                }
                b'\n' => self.returns = 0,
                _ => self.show_returns(out),
            }
            match byte {
                b'\n' | b'\t' => out.push(byte),
                // caret notation: ^A is 1, ^? is 127
                0..0x20 | 0x7f => out.extend_from_slice(&[b'^', byte ^ 0x40]),
                0xc2..=0xf4 => self.begun.push(byte),
                _ => show_high(byte, out),
            }
        }
    }

    /// Appends what was held back, at the end.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.show_returns(out);
        self.begun.drain(..).for_each(|byte| show_high(byte, out));
    }

    /// Adds a byte to the incomplete character. If it does not fit, appends the bytes of that character.
    fn belongs_to_begun(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        if self.begun.is_empty() {
            return false;
        }
        self.begun.push(byte);
        match str::from_utf8(&self.begun) {
            Ok(_) => {
                match self.begun[..] {
                    [C1, control @ 0x80..=0x9f] => show_high(control, out),
                    _ => out.extend_from_slice(&self.begun),
                }
                self.begun.clear();
                true
            }
            Err(error) if error.error_len().is_none() => true,
            Err(_) => {
                self.begun.pop();
                self.begun.drain(..).for_each(|byte| show_high(byte, out));
                false
            }
        }
    }

    fn show_returns(&mut self, out: &mut Vec<u8>) {
        for _ in 0..std::mem::take(&mut self.returns) {
            out.extend_from_slice(b"^M");
        }
    }
}

/// Appends a byte that is neither ASCII nor part of a complete character. Terminals obey 0x80 to 0x9f.
fn show_high(byte: u8, out: &mut Vec<u8>) {
    match byte {
        0x80..=0x9f => out.extend_from_slice(format!("<{byte:02X}>").as_bytes()),
        _ => out.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let (mut visible, mut out) = (Visible::default(), vec![]);
        pieces.iter().for_each(|piece| visible.show(piece, &mut out));
        visible.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        let text = "\u{1b}]0;title\u{7}\u{1b}[2J\rb\r\r\n\ta\u{9b}31m\u{7f}\0 ä€\u{a0}Â\n";
        let expected = "^[]0;title^G^[[2J^Mb\n\ta<9B>31m^?^@ ä€\u{a0}Â\n";
        assert_eq!(shown(&[text.as_bytes()]), expected);
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(shown(&bytes), expected);
        assert_eq!(shown(&["é".as_bytes()]), "é");
    }

    #[test]
    fn bytes_of_no_character_are_shown_where_a_terminal_would_obey_them() {
        // 8-bit CSI and OSC, broken characters with such bytes, and overlong forms of them.
        let text =
            b"caf\xc3\xa9 \x9b31m\x9d0;t\x9c \xe2\x9ba \xf0\x9f\x98\x80 \xc0\x9b \xe0\x82\x9b \xe9t\xe9";
        let expected =
            b"caf\xc3\xa9 <9B>31m<9D>0;t<9C> \xe2<9B>a \xf0\x9f\x98\x80 \xc0<9B> \xe0<82><9B> \xe9t\xe9";
        for size in [1, 2, 3, text.len()] {
            let (mut visible, mut out) = (Visible::default(), vec![]);
            text.chunks(size).for_each(|piece| visible.show(piece, &mut out));
            visible.finish(&mut out);
            assert_eq!(out, expected, "{}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn a_return_is_dropped_at_the_end_of_a_line_only() {
        assert_eq!(shown(&[b"a\r", b"\nb\r", b"c\r"]), "a\nb^Mc^M");
        let many = [b'\r'; 100];
        assert_eq!(shown(&[&many, b"a"]), format!("{}a", "^M".repeat(100)));
    }

    #[test]
    fn only_what_changes_nothing_is_harmless() {
        let visible = Visible::default();
        assert!(visible.is_harmless("plain\ttext, ä€\n".as_bytes()));
        for bad in ["\r", "\u{1b}", "\u{7f}", "\u{9b}", "\0"] {
            assert!(!visible.is_harmless(bad.as_bytes()), "{bad:?}");
        }
        for bad in [&b"a\x9b31m"[..], b"\xe2\x82", b"\xc0\x9b", b"\xff"] {
            assert!(!visible.is_harmless(bad), "{bad:?}");
        }
        for begun in [&[C1][..], b"\r"] {
            let mut visible = Visible::default();
            visible.show(begun, &mut vec![]);
            assert!(!visible.is_harmless(b"a"));
        }
    }
}
