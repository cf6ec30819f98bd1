//! The last bytes that were read from a file. As long as they are still before the read position, the file was not
//! truncated and written again, whatever its size.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use nix::sys::uio::preadv;

/// How many bytes are compared.
pub(super) const WINDOW: usize = 1024;

#[derive(Clone, Default)]
pub(super) struct Mark(Vec<u8>);

impl Mark {
    /// The bytes before the offset, as they are now.
    pub(super) fn before(file: &File, offset: u64) -> Mark {
        // At most WINDOW, which fits.
        let mut bytes = vec![0; offset.min(WINDOW as u64) as usize];
        let from = offset - bytes.len() as u64;
        match file.read_exact_at(&mut bytes, from) {
            // NULs may be a hole, or bytes that a server has not sent yet.
            Ok(()) if !bytes.contains(&0) => Mark(bytes),
            _ => Mark::default(),
        }
    }

    /// Reads at the offset. None if the bytes before it have changed. Needs no extra system call.
    pub(super) fn read_behind(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let mut window = [0; WINDOW];
        let (window, before) = (&mut window[..self.0.len()], self.0.len());
        let from = (offset - before as u64).cast_signed();
        let read = preadv(file, &mut [IoSliceMut::new(window), IoSliceMut::new(buf)], from)?;
        Ok(match read.checked_sub(before) {
            Some(read) => (*window == self.0[..]).then_some(read),
            // The file is shorter than before, or the read was interrupted.
            None if file.metadata()?.len() < offset => None,
            None => Some(0),
        })
    }

    /// Adds bytes that were read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = self.0.len().min(WINDOW.saturating_sub(bytes.len()));
        self.0.drain(..self.0.len() - kept);
        self.0.extend_from_slice(&bytes[bytes.len().saturating_sub(WINDOW)..]);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn a_file_that_was_written_again_is_noticed_whatever_its_size() {
        let mut file = tempfile::tempfile().unwrap();
        let (mut mark, mut buf) = (Mark::default(), [0; 4096]);
        let mut offset = 0;
        for size in [10, 3000, 1, 1023, 1] {
            file.write_all(&vec![b'x'; size]).unwrap();
            assert_eq!(mark.read_behind(&file, &mut buf, offset).unwrap(), Some(size));
            mark.push(&buf[..size]);
            offset += size as u64;
            assert_eq!(mark.0, Mark::before(&file, offset).0);
        }
        for size in [10, offset as usize, 9000] {
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(&vec![b'y'; size]).unwrap();
            assert_eq!(mark.read_behind(&file, &mut buf, offset).unwrap(), None);
        }
    }
}
