//! Finds where the last lines of a file begin, from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at a time.
const BLOCK: u64 = 64 * 1024;

/// How many bytes are searched at most: a file without line ends (such as a binary file) must not be read whole before
/// the first byte is shown.
const FARTHEST: u64 = 4 * 1024 * 1024;

/// The offset at which the last `lines` lines begin. Unfinished lines count.
pub(super) fn start_of_last_lines(file: &File, lines: u32) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let farthest = size.saturating_sub(FARTHEST);
    let mut block = Vec::new();
    let mut end = size;
    let mut found = 0;
    if lines == 0 {
        return Ok(size);
    }
    while end > farthest {
        let start = end.saturating_sub(BLOCK).max(farthest);
        // At most BLOCK, which fits.
        block.resize((end - start) as usize, 0);
        if let Err(error) = file.read_exact_at(&mut block, start) {
            // The file was truncated meanwhile, so nothing older is left.
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(0) } else { Err(error) };
        }
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + at as u64 + 1;
            // A line end at the end of the file belongs to the last line.
            if after < size {
                found += 1;
            }
            if found == lines {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(farthest)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    fn shown(text: &str, lines: u32) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let start = start_of_last_lines(&file, lines).unwrap();
        text[start as usize..].to_owned()
    }

    #[test]
    fn lines_are_counted_from_the_end() {
        assert_eq!(shown("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(shown("a\nb\nc", 2), "b\nc");
        assert_eq!(shown("a\nb\n\n", 2), "b\n\n");
        assert_eq!(shown("a\nb\n", 10), "a\nb\n");
        assert_eq!(shown("a\nb", 0), "");
        assert_eq!(shown("", 3), "");
        assert_eq!(shown("\n", 1), "\n");
        let long = format!("{}\n{}\n", "x".repeat(200_000), "y".repeat(100_000));
        assert_eq!(shown(&long, 1), &long[200_001..]);
    }

    #[test]
    fn a_huge_file_costs_only_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        // Ten GiB with nothing in them, then two lines.
        let ten_gib = 10 << 30;
        file.seek(SeekFrom::Start(ten_gib)).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        assert_eq!(start_of_last_lines(&file, 1).unwrap(), ten_gib + 1);
        // A line that long is shown from somewhere inside.
        assert_eq!(start_of_last_lines(&file, 2).unwrap(), ten_gib + 6 - FARTHEST);
    }
}
