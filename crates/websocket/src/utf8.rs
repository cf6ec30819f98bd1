//! Checks piece by piece whether a text is UTF-8 (RFC 3629).

/// The check of one text. Keeps only the beginning of a character that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// At most three bytes: a character of UTF-8 has at most four.
    begun: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// Checks the next piece.
    ///
    /// # Errors
    /// If the text can no longer be UTF-8: how many bytes of the piece come before the first wrong byte. Which byte that
    /// is does not depend on the pieces.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), usize> {
        let mut rest = piece;
        while self.len > 0 {
            let Some((byte, behind)) = rest.split_first() else { return Ok(()) };
            self.begun[usize::from(self.len)] = *byte;
            rest = behind;
            match std::str::from_utf8(&self.begun[..=usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => self.len += 1,
                Err(_) => return Err(piece.len() - rest.len() - 1),
            }
        }
        let Err(error) = std::str::from_utf8(rest) else { return Ok(()) };
        let valid = error.valid_up_to();
        if let Some(wrong) = error.error_len() {
            // Either this byte cannot begin a character, or a byte after it cannot continue it.
            let begun = if matches!(rest[valid], 0xc2..=0xf4) { wrong } else { 0 };
            return Err(piece.len() - rest.len() + valid + begun);
        }
        let begun = &rest[valid..];
        self.begun[..begun.len()].copy_from_slice(begun);
        self.len = begun.len() as u8;
        Ok(())
    }

    /// Whether the text may end here, so not inside of a character.
    pub(super) fn may_end(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_pieces_of_a_text_are_judged_like_the_whole() {
        let texts: [&[u8]; 14] = [
            b"",
            b"plain",
            "Hello-µ@ßöäüàá-€-𐍈-😀".as_bytes(),
            b"\xf4\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xed\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf8\x88\x80\x80\x80",
            b"\x80",
            b"a\xe2(\xa1",
            b"cut \xe2\x82",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        ];
        for text in texts {
            let expected = std::str::from_utf8(text);
            let mut bytewise = Utf8::default();
            let first_wrong = text.iter().position(|byte| bytewise.take(&[*byte]).is_err());
            for size in 1..=text.len().max(1) {
                let mut utf8 = Utf8::default();
                let mut pieces = text.chunks(size).enumerate();
                let wrong = pieces.find_map(|(at, piece)| Some(at * size + utf8.take(piece).err()?));
                assert_eq!(wrong, first_wrong, "{text:x?} in pieces of {size}");
                assert_eq!(
                    wrong.is_none() && utf8.may_end(),
                    expected.is_ok(),
                    "{text:x?} in pieces of {size}"
                );
            }
            if let Some(at) = first_wrong {
                let before = std::str::from_utf8(&text[..at]);
                assert!(before.map_or_else(|error| error.error_len().is_none(), |_| true), "{text:x?}");
            }
        }
    }

    #[test]
    fn what_comes_before_the_wrong_byte_is_counted() {
        assert_eq!(Utf8::default().take(b"ab\xffcd"), Err(2));
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.take(b"\xe2\x82"), Ok(()));
        assert_eq!(utf8.take(b"\xacab\xffcd"), Err(3));
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.take(b"a\xe2"), Ok(()));
        assert_eq!(utf8.take(b"(b"), Err(0));
        assert_eq!(Utf8::default().take(b"a\xf0\x9f(b"), Err(3));
    }
}
