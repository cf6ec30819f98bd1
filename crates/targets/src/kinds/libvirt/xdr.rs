//! The parts of XDR (RFC 4506) that the calls need: big-endian words, and bytes padded to whole words.

/// Encodes the values of a call.
#[derive(Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn word(mut self, value: u32) -> Encoder {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn fixed(mut self, bytes: &[u8]) -> Encoder {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A text that is not longer than a configured name, so that its length fits.
    pub(super) fn text(self, text: &str) -> Encoder {
        self.word(u32::try_from(text.len()).unwrap_or(u32::MAX)).fixed(text.as_bytes())
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// An answer is too short, or has bytes that are not UTF-8 in a text.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed;

/// Decodes the values of an answer, from the front.
pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder(bytes)
    }

    pub(super) fn word(&mut self) -> Result<u32, Malformed> {
        let (word, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*word))
    }

    pub(super) fn int(&mut self) -> Result<i32, Malformed> {
        self.word().map(u32::cast_signed)
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::try_from(self.word()?).map_err(|_| Malformed)?;
        str::from_utf8(self.bytes(length)?).map_err(|_| Malformed)
    }

    /// A text that may be missing.
    pub(super) fn optional_text(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.word()? {
            0 => Ok(None),
            _ => self.text().map(Some),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let padded = length.checked_next_multiple_of(4).ok_or(Malformed)?;
        let (bytes, rest) = self.0.split_at_checked(padded).ok_or(Malformed)?;
        self.0 = rest;
        Ok(&bytes[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let written = Encoder::default().word(7).text("web-1").fixed(&[9; 16]).word(u32::MAX).done();
        assert_eq!(written.len(), 4 + 4 + 8 + 16 + 4);
        let mut reader = Decoder::new(&written);
        assert_eq!((reader.word(), reader.text()), (Ok(7), Ok("web-1")));
        assert_eq!((reader.fixed(), reader.int()), (Ok([9; 16]), Ok(-1)));
        assert_eq!(reader.word(), Err(Malformed));
    }

    #[test]
    fn no_length_leads_out_of_the_message() {
        for length in [5, 0x7fff_ffff, u32::MAX] {
            let written = Encoder::default().word(length).fixed(b"four").done();
            assert_eq!(Decoder::new(&written).text(), Err(Malformed), "{length}");
        }
        assert_eq!(Decoder::new(&Encoder::default().word(1).fixed(&[255]).done()).text(), Err(Malformed));
        assert_eq!(Decoder::new(&[0; 4]).optional_text(), Ok(None));
        assert_eq!(Decoder::new(&[0, 0, 0, 1]).optional_text(), Err(Malformed));
    }
}
