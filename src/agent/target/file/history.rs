//! What was rotated away (logrotate(8)) and is still there, plain or gzip'd, oldest first.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::read::MultiGzDecoder;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;

use super::place::{Place, path_of};
use crate::protocol::failure::Failure;

/// Bytes read at a time. Unlike what was just written, old files come from a disk: not on the runtime's threads.
const CHUNK: usize = 256 * 1024;

/// The rotated files of a log, as one stream.
pub(super) struct History {
    files: Option<Files>,
    job: Option<JoinHandle<(Files, io::Result<Vec<u8>>)>>,
    bytes: Vec<u8>,
    given: usize,
}

/// Files that are not read to their ends.
struct Files(VecDeque<Box<dyn Read + Send>>);

impl History {
    /// The newest `most` files of the log that were written to since a time (seconds since 1970), without the one
    /// that has its name now.
    pub(super) fn of(place: &Place, current: &File, since: u64, most: usize) -> io::Result<History> {
        let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let now = identity(&current.metadata()?);
        let mut names = vec![];
        for entry in fs::read_dir(path_of(&place.open_dir()?))? {
            let name = entry?.file_name();
            if is_rotated(place.name(), &name) {
                names.push(name);
            }
        }
        let mut found = vec![];
        for name in &names {
            let gzip = name.as_bytes().strip_suffix(b".gz");
            // Beside the file that it is made of, it is not finished.
            if gzip.is_some_and(|plain| names.iter().any(|name| name.as_bytes() == plain)) {
                continue;
            }
            // Links and what is no file are not history; what went away meanwhile is none any more.
            let Ok(file) = place.open(name) else { continue };
            let metadata = file.metadata()?;
            if metadata.mtime() >= since.cast_signed() && identity(&metadata) != now {
                found.push((metadata.mtime(), metadata.mtime_nsec(), file, gzip.is_some()));
                // Only so many are open at a time, however many there are.
                found.sort_by_key(|(seconds, nanos, ..)| std::cmp::Reverse((*seconds, *nanos)));
                found.truncate(most);
            }
        }
        let files = found.into_iter().rev().map(|(_, _, file, is_gzip)| -> Box<dyn Read + Send> {
            if is_gzip { Box::new(MultiGzDecoder::new(io::BufReader::new(file))) } else { Box::new(file) }
        });
        Ok(History { files: Some(Files(files.collect())), job: None, bytes: vec![], given: 0 })
    }
}

/// Whether a name is that of the log with something behind it: `log.1`, `log.2.gz`, `log-20260101`.
fn is_rotated(log: &OsStr, name: &OsStr) -> bool {
    matches!(name.as_bytes().strip_prefix(log.as_bytes()), Some([b'.' | b'-', _, ..]))
}

impl Files {
    /// The next bytes; none at the end of the last.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![];
        while let Some(file) = self.0.front_mut() {
            file.take(CHUNK as u64).read_to_end(&mut bytes)?;
            if !bytes.is_empty() {
                break;
            }
            self.0.pop_front();
        }
        Ok(bytes)
    }
}

impl AsyncRead for History {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let history = &mut *self;
        loop {
            let left = &history.bytes[history.given..];
            if !left.is_empty() {
                let n = left.len().min(buf.remaining());
                buf.put_slice(&left[..n]);
                history.given += n;
                return Poll::Ready(Ok(()));
            }
            if let Some(job) = &mut history.job {
                let (files, read) = ready!(Pin::new(job).poll(cx)).map_err(io::Error::other)?;
                history.job = None;
                history.bytes = read.map_err(|error| Failure::Unreadable.error(error))?;
                history.given = 0;
                if !history.bytes.is_empty() {
                    history.files = Some(files);
                }
                continue;
            }
            let Some(mut files) = history.files.take() else { return Poll::Ready(Ok(())) };
            history.job = Some(tokio::task::spawn_blocking(move || {
                let read = files.read();
                (files, read)
            }));
        }
    }
}
