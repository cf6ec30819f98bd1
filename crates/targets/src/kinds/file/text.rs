//! The bytes of a file without its holes. A writer without `O_APPEND` leaves a hole if its log is truncated, which is
//! not text and may be gigabytes. Less than a block of NULs around a hole may remain if a read ends among them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::mark::{Mark, WINDOW};

/// Size up to which the first bytes of a file are also compared. Larger files are not shown again because a header has
/// changed.
const SMALL: u64 = 64 * 1024;

pub(super) struct Text {
    pub(super) file: File,
    offset: u64,
    /// Whether NULs that follow belong to a hole, because file systems store whole blocks.
    is_after_hole: bool,
    mark: Mark,
    /// The first bytes of a small file, as read.
    head: Vec<u8>,
}

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadResult {
    /// How many bytes were read.
    Bytes(usize),
    End,
    /// The file was truncated or written again: the bytes that were read are gone.
    Rewritten,
}

/// A position in a file, with the bytes before it.
#[derive(Clone)]
pub(super) struct Reached {
    offset: u64,
    mark: Mark,
}

impl Text {
    pub(super) fn new(file: File, offset: u64) -> Text {
        let mark = Mark::before(&file, offset);
        let head = if offset <= SMALL { first_bytes(&file, offset) } else { vec![] };
        Text { file, offset, is_after_hole: false, mark, head }
    }

    pub(super) fn reached(&self) -> Reached {
        Reached { offset: self.offset, mark: self.mark.clone() }
    }

    /// Continues at a position of an earlier read.
    pub(super) fn go_on(&mut self, reached: Reached) {
        (self.offset, self.mark) = (reached.offset, reached.mark);
        self.head.clear();
    }

    /// Starts over with the first byte.
    pub(super) fn begin_again(&mut self) {
        self.offset = 0;
        // Not every file system knows where its holes are.
        self.is_after_hole = true;
        self.mark.clear();
        self.head.clear();
    }

    /// Whether the file, which was read to its end, has become shorter, or is another one that ends with the same
    /// bytes.
    pub(super) fn is_rewritten(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.offset {
            return Ok(true);
        }
        // The mark has all bytes of the smallest files.
        if !(WINDOW as u64..=SMALL).contains(&self.offset) {
            return Ok(false);
        }
        let mut head = [0; WINDOW];
        let head = &mut head[..self.head.len()];
        let read = self.file.read_at(head, 0)?;
        Ok(head[..read] != self.head[..])
    }

    /// The offset of the data at or after this one; none in a hole up to the end of the file.
    fn data(&self) -> Option<u64> {
        match lseek(&self.file, self.offset.cast_signed(), Whence::SeekData) {
            Ok(data) => Some(data.cast_unsigned()),
            Err(Errno::ENXIO) => None,
            // This file system does not know its holes.
            Err(_) => Some(self.offset),
        }
    }

    /// The offset of the next hole; none if there is no more.
    fn hole(&self) -> io::Result<Option<u64>> {
        let hole = lseek(&self.file, self.offset.cast_signed(), Whence::SeekHole);
        let hole = hole.ok().map(i64::cast_unsigned);
        let size = self.file.metadata()?.len();
        // The end counts as a hole (lseek(2)).
        Ok(hole.filter(|hole| *hole < size))
    }

    /// Reads the next bytes that are not in a hole.
    pub(super) fn next(&mut self, buf: &mut [u8]) -> io::Result<ReadResult> {
        loop {
            let Some(read) = self.mark.read_behind(&self.file, buf, self.offset)? else {
                return Ok(ReadResult::Rewritten);
            };
            let bytes = &buf[..read];
            if memchr::memchr(0, bytes).is_none() {
                self.is_after_hole &= read == 0;
                if self.offset == self.head.len() as u64 {
                    let room = WINDOW - self.head.len();
                    self.head.extend_from_slice(&bytes[..read.min(room)]);
                }
                self.offset += read as u64;
                self.mark.push(bytes);
                return Ok(if read == 0 { ReadResult::End } else { ReadResult::Bytes(read) });
            }
            let nuls = bytes.iter().take_while(|byte| **byte == 0).count();
            if nuls > 0 {
                let Some(data) = self.data() else { return Ok(ReadResult::End) };
                if data > self.offset {
                    (self.offset, self.is_after_hole) = (data, true);
                    self.mark.clear();
                    continue;
                }
                if self.is_after_hole {
                    self.offset += nuls as u64;
                    self.mark.clear();
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
            self.mark.clear();
            if given > 0 {
                return Ok(ReadResult::Bytes(given));
            }
        }
    }
}

/// The first bytes of the file, up to the offset; none if they may still change, as in [`Mark`].
fn first_bytes(file: &File, offset: u64) -> Vec<u8> {
    // At most WINDOW, which fits.
    let mut bytes = vec![0; offset.min(WINDOW as u64) as usize];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) if !bytes.contains(&0) => bytes,
        _ => vec![],
    }
}

/// The file as it is now, read once; if it is rewritten meanwhile, it ends.
impl io::Read for Text {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(match self.next(buf)? {
            ReadResult::Bytes(read) => read,
            ReadResult::End | ReadResult::Rewritten => 0,
        })
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
        assert_eq!(all(&mut Text::new(file.try_clone().unwrap(), 0)), "a\0b\0\0c\nafter\n\0");
        // A hole up to the end is nothing yet.
        let mut text = Text::new(file.try_clone().unwrap(), GIB - 1);
        file.set_len(3 * GIB).unwrap();
        assert_eq!(all(&mut text), "after\n");
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"end\n").unwrap();
        assert_eq!(all(&mut text), "end\n");
    }
}
