//! Reads the output of `journalctl --output=export` (systemd.io/JOURNAL_EXPORT_FORMATS): every field as it is, in its
//! order, with the entry's cursor.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// How many bytes of a field are kept, because old versions of systemd store coredumps in the journal.
const MOST: usize = 4 << 20;

/// The fields of one entry.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) fields: Vec<(String, Vec<u8>)>,
}

impl Entry {
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| &value[..])
    }

    /// All values of a field, because an entry may have several.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| &value[..])
    }

    /// Its cursor: its position in the journal.
    pub(super) fn cursor(&self) -> &str {
        self.get("__CURSOR").and_then(|cursor| std::str::from_utf8(cursor).ok()).unwrap_or_default()
    }

    /// When it was written, in microseconds since 1970. The writer's own time if there is one.
    pub(super) fn time(&self) -> i64 {
        let number = |name| std::str::from_utf8(self.get(name)?).ok()?.parse().ok();
        number("_SOURCE_REALTIME_TIMESTAMP").or_else(|| number("__REALTIME_TIMESTAMP")).unwrap_or_default()
    }
}

/// The output of journalctl(1), entry by entry.
pub(super) struct Entries<R> {
    input: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Entries<R> {
    pub(super) fn new(input: R) -> Entries<R> {
        Entries { input: BufReader::with_capacity(64 * 1024, input) }
    }

    pub(super) fn input(&mut self) -> &mut R {
        self.input.get_mut()
    }

    /// The next entry; `None` at the end, where an incomplete entry is ignored.
    pub(super) async fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut entry = Entry::default();
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            match line.iter().position(|byte| *byte == b'=') {
                None if line.is_empty() && entry.fields.is_empty() => {}
                None if line.is_empty() => return Ok(Some(entry)),
                None => match self.sized().await {
                    Ok(value) => entry.fields.push((text(&line), value)),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                    Err(error) => return Err(error),
                },
                Some(at) => entry.fields.push((text(&line[..at]), line[at + 1..].to_vec())),
            }
        }
    }

    /// A line without its end; `None` if no complete line is left.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut line, mut length) = (Vec::new(), 0);
        loop {
            let there = self.input.fill_buf().await?;
            if there.is_empty() {
                return Ok(None);
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let part = &there[..end.unwrap_or(there.len())];
            line.extend_from_slice(&part[..part.len().min(MOST.saturating_sub(line.len()))]);
            length += part.len();
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                if length > line.len() {
                    let name = line.iter().position(|byte| *byte == b'=').map_or(0, |at| at + 1);
                    line.truncate(name);
                    line.extend(left_out(length - name));
                }
                return Ok(Some(line));
            }
        }
    }

    /// The value of a field with its size before it, because it is not text or has several lines.
    async fn sized(&mut self) -> io::Result<Vec<u8>> {
        let size = self.input.read_u64_le().await?;
        let value = match usize::try_from(size) {
            Ok(size) if size <= MOST => {
                let mut value = vec![0; size];
                self.input.read_exact(&mut value).await?;
                value
            }
            _ => {
                tokio::io::copy(&mut (&mut self.input).take(size), &mut tokio::io::sink()).await?;
                left_out(size)
            }
        };
        self.input.read_u8().await?;
        Ok(value)
    }
}

fn left_out(size: impl std::fmt::Display) -> Vec<u8> {
    format!("[{size} bytes are left out]").into_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn entries_are_read_whole_or_not_at_all() {
        let mut all =
            b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=7\nA=b=c\nA=d\nMESSAGE\n\x03\0\0\0\0\0\0\0x\n\n\n\n"
                .to_vec();
        all.extend(b"BIG=");
        all.resize(all.len() + MOST + 1, b'x');
        all.extend(b"\nBLOB\n");
        all.extend((MOST as u64 + 1).to_le_bytes());
        all.resize(all.len() + MOST + 1, b'\n');
        all.extend(b"\nLAST=1\n\nMESSAGE=not whole\nBLOB\n\x03\0\0\0");
        let mut entries = Entries::new(&all[..]);
        let first = entries.next().await.unwrap().unwrap();
        assert_eq!((first.cursor(), first.time()), ("s=1;i=2", 7));
        assert_eq!(first.all("A").collect::<Vec<_>>(), [b"b=c" as &[u8], b"d"]);
        assert_eq!(first.get("MESSAGE"), Some(b"x\n\n" as &[u8]));
        let second = entries.next().await.unwrap().unwrap();
        assert_eq!(second.get("BIG"), Some(b"[4194305 bytes are left out]" as &[u8]));
        assert_eq!(second.get("BLOB"), Some(b"[4194305 bytes are left out]" as &[u8]));
        assert_eq!(second.get("LAST"), Some(b"1" as &[u8]));
        assert!(entries.next().await.unwrap().is_none());
    }
}
