//! The bytes of a file without its holes: what a writer without `O_APPEND` leaves behind when its log
//! is truncated is not text, and may be gigabytes. NULs of the blocks around a hole may stay where a
//! read ends between them: less than one block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

pub(super) struct Text {
    pub(super) file: File,
    offset: u64,
    /// Whether NULs that come now belong to a hole: file systems store whole blocks.
    is_after_hole: bool,
}

impl Text {
    pub(super) fn of(file: File, offset: u64) -> Text {
        Text { file, offset, is_after_hole: false }
    }

    /// Begins again if the file has become shorter than what was read of it; says whether it has.
    pub(super) fn is_truncated(&mut self) -> io::Result<bool> {
        let is_truncated = self.file.metadata()?.len() < self.offset;
        if is_truncated {
            self.offset = 0;
            // Not every file system can tell where its holes are.
            self.is_after_hole = true;
        }
        Ok(is_truncated)
    }

    /// Where the data at or after the offset is; none in a hole up to the end.
    fn data(&self) -> Option<u64> {
        match lseek(&self.file, self.offset.cast_signed(), Whence::SeekData) {
            Ok(data) => Some(data.cast_unsigned()),
            Err(Errno::ENXIO) => None,
            // This file system cannot tell.
            Err(_) => Some(self.offset),
        }
    }

    /// Where the next hole begins; none if there is no more.
    fn hole(&self) -> io::Result<Option<u64>> {
        let hole = lseek(&self.file, self.offset.cast_signed(), Whence::SeekHole);
        let hole = hole.ok().map(i64::cast_unsigned);
        let size = self.file.metadata()?.len();
        // The end counts as a hole (lseek(2)).
        Ok(hole.filter(|hole| *hole < size))
    }
}

impl io::Read for Text {
    /// Reads what there is; nothing at the end.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.file.read_at(buf, self.offset)?;
            let bytes = &buf[..read];
            if memchr::memchr(0, bytes).is_none() {
                self.is_after_hole &= read == 0;
                self.offset += read as u64;
                return Ok(read);
            }
            let nuls = bytes.iter().take_while(|byte| **byte == 0).count();
            if nuls > 0 {
                let Some(data) = self.data() else { return Ok(0) };
                if data > self.offset {
                    (self.offset, self.is_after_hole) = (data, true);
                    continue;
                }
                if self.is_after_hole {
                    self.offset += nuls as u64;
                    continue;
                }
            }
            self.is_after_hole = false;
            let mut given = read;
            let mut next = self.offset + read as u64;
            if let Some(hole) = self.hole()?.filter(|hole| *hole <= next) {
                // At most what was read, which fits.
                let before = &bytes[..(hole - self.offset) as usize];
                given = before.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                (next, self.is_after_hole) = (hole, true);
            }
            self.offset = next;
            if given > 0 {
                return Ok(given);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    const GIB: u64 = 1 << 30;

    fn all(text: &mut Text) -> String {
        let mut buf = vec![0; 64 * 1024];
        let mut said = String::new();
        loop {
            match text.read(&mut buf).unwrap() {
                0 => return said,
                n => said.push_str(std::str::from_utf8(&buf[..n]).unwrap()),
            }
        }
    }

    #[test]
    fn holes_are_left_out_and_other_nuls_are_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\0b\0\0c\n").unwrap();
        file.seek(SeekFrom::Start(GIB + 5)).unwrap();
        file.write_all(b"after\n\0").unwrap();
        assert_eq!(all(&mut Text::of(file.try_clone().unwrap(), 0)), "a\0b\0\0c\nafter\n\0");
        // A hole up to the end is nothing yet.
        let mut text = Text::of(file.try_clone().unwrap(), GIB - 1);
        file.set_len(3 * GIB).unwrap();
        assert_eq!(all(&mut text), "after\n");
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"end\n").unwrap();
        assert_eq!(all(&mut text), "end\n");
    }
}
