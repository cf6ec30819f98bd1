//! Control characters of a log as text that a reader sees and a terminal does not obey.

/// The first byte of the C1 control characters in UTF-8 (U+0080 to U+009F), which terminals obey, too.
const C1: u8 = 0xc2;

/// Makes bytes visible, over any cuts between them.
#[derive(Debug, Default)]
pub(super) struct Visible {
    /// Whether the last byte was [`C1`] and was kept back.
    is_c1_begun: bool,
}

impl Visible {
    /// Whether these bytes can go as they are.
    pub(super) fn is_harmless(&self, bytes: &[u8]) -> bool {
        // Without branches, so that the compiler looks at many bytes at once.
        let bad = bytes.iter().fold(0u8, |bad, byte| {
            let is_control = byte < &0x20 && byte != &b'\n' && byte != &b'\t';
            bad | u8::from(is_control | (byte == &0x7f) | (byte == &C1))
        });
        !self.is_c1_begun && bad == 0
    }

    /// Appends what these bytes look like.
    pub(super) fn show(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if std::mem::take(&mut self.is_c1_begun) {
                if matches!(byte, 0x80..=0x9f) {
                    out.extend_from_slice(format!("<{byte:02X}>").as_bytes());
                    continue;
                }
                out.push(C1);
            }
            match byte {
                b'\n' | b'\t' => out.push(byte),
                // caret notation: ^A is 1, ^? is 127
                0..0x20 | 0x7f => out.extend_from_slice(&[b'^', byte ^ 0x40]),
                C1 => self.is_c1_begun = true,
                _ => out.push(byte),
            }
        }
    }

    /// Appends what was kept back, when nothing follows.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_c1_begun) {
            out.push(C1);
        }
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
        let text = "\u{1b}]0;title\u{7}\u{1b}[2J\r\n\ta\u{9b}31m\u{7f}\0 ä€\u{a0}Â\n";
        let expected = "^[]0;title^G^[[2J^M\n\ta<9B>31m^?^@ ä€\u{a0}Â\n";
        assert_eq!(shown(&[text.as_bytes()]), expected);
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        assert_eq!(shown(&bytes), expected);
        assert_eq!(shown(&["é".as_bytes()]), "é");
    }

    #[test]
    fn only_what_changes_nothing_is_harmless() {
        let visible = Visible::default();
        assert!(visible.is_harmless("plain\ttext, ä€\n".as_bytes()));
        for bad in ["\r", "\u{1b}", "\u{7f}", "\u{9b}", "\0"] {
            assert!(!visible.is_harmless(bad.as_bytes()), "{bad:?}");
        }
        let mut visible = Visible::default();
        visible.show(&[C1], &mut vec![]);
        assert!(!visible.is_harmless(b"a"));
    }
}
