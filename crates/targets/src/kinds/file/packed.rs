//! Unpacks a file, depending on its first bytes and not on its name.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use flate2::read::MultiGzDecoder;

use super::text::Text;

/// The first bytes of packed files, and the names of the formats.
const FORMATS: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
];

/// The text of a file, or a message why it cannot be unpacked.
pub(super) fn text_of(
    mut file: File,
    has_packed_name: bool,
) -> io::Result<Result<Box<dyn Read + Send>, String>> {
    let mut first = [0; 6];
    let filled = fill(&mut file, &mut first)?;
    file.rewind()?;
    let format = FORMATS.iter().find(|(magic, _)| first[..filled].starts_with(magic)).map(|(_, name)| *name);
    Ok(match format {
        Some("gzip") => Ok(Box::new(MultiGzDecoder::new(BufReader::new(file)))),
        Some(other) => Err(format!("it is packed by {other}, which is not read here")),
        None if filled == 0 => Ok(Box::new(io::empty())),
        None if has_packed_name => Err("it is not packed as its name says".to_owned()),
        None => Ok(Box::new(Text::new(file, 0))),
    })
}

/// Reads until the buffer is full or nothing is left.
fn fill(file: &mut File, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read(&mut buf[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}
