//! The rotated files of a log (logrotate(8)) that still exist, plain or gzip, oldest first. An unreadable file is
//! skipped with a remark and does not end the log.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;
use tracing::info;

use super::location::{Location, path_of};
use super::packed::text_of;
use super::rotated::{is_as_open, is_rotated, unpacked};
use crate::support::log::Aside;
use crate::support::tasks::spawn_blocking;

/// Bytes read at a time. Old files come from a disk, so they are not read on the runtime's threads.
const CHUNK: usize = 256 * 1024;

/// The rotated files of a log as one stream.
pub(super) struct History {
    files: Option<UnreadFiles>,
    job: Option<JoinHandle<(UnreadFiles, Read)>>,
    bytes: Vec<u8>,
    given: usize,
    /// A remark that follows the bytes.
    remark: Option<Aside>,
}

/// The files that are not yet read to their ends.
struct UnreadFiles(VecDeque<Rotated>);

struct Rotated {
    name: String,
    file: Content,
}

enum Content {
    Unread(File),
    Text(Box<dyn io::Read + Send>),
}

/// The result of one read.
#[derive(Default)]
struct Read {
    /// None at the end of the last file.
    bytes: Vec<u8>,
    /// A remark that follows them.
    remark: Option<Aside>,
}

impl History {
    /// The newest `most` files of the log that were written to since a time (seconds since 1970), except for the
    /// current one.
    pub(super) fn open(location: &Location, current: &File, since: u64, most: usize) -> io::Result<History> {
        let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let log = current.metadata()?;
        let mut names = vec![];
        for entry in fs::read_dir(path_of(&location.open_dir()?))? {
            let name = entry?.file_name();
            if is_rotated(location.name(), &name) {
                names.push(name);
            }
        }
        let mut found = vec![];
        for name in &names {
            let plain = name.to_str().map(unpacked).unwrap_or_default();
            // A packed file is unfinished while its source is still beside it.
            if name != plain && names.iter().any(|name| name == plain) {
                continue;
            }
            // Links and other things than files are not history. A file that was deleted meanwhile is none either.
            let Ok(file) = location.open(name) else { continue };
            let metadata = file.metadata()?;
            let is_history = identity(&metadata) != identity(&log) && is_as_open(&log, &metadata);
            if is_history && metadata.mtime() >= since.cast_signed() {
                let name = name.to_string_lossy().into_owned();
                let file = Rotated { name, file: Content::Unread(file) };
                found.push((metadata.mtime(), metadata.mtime_nsec(), file));
                // Limits how many are open at a time.
                found.sort_by_key(|(seconds, nanos, _)| std::cmp::Reverse((*seconds, *nanos)));
                found.truncate(most);
            }
        }
        let files = found.into_iter().rev().map(|(.., file)| file).collect();
        Ok(History { files: Some(UnreadFiles(files)), job: None, bytes: vec![], given: 0, remark: None })
    }
}

impl UnreadFiles {
    fn read(&mut self) -> Read {
        let mut read = Read::default();
        while let Some(rotated) = self.0.front_mut() {
            let more = rotated.read(&mut read.bytes);
            if !matches!(more, Ok(true)) {
                read.remark = Some(more.err().unwrap_or(Aside::NextFile));
                self.0.pop_front();
            }
            if !read.bytes.is_empty() || read.remark.is_some() {
                break;
            }
        }
        read
    }
}

impl Rotated {
    /// Reads some bytes. Returns whether more may follow, or why not.
    fn read(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Aside> {
        if let Content::Unread(file) = &self.file {
            let is_packed = unpacked(&self.name) != self.name;
            let text = file.try_clone().and_then(|file| text_of(file, is_packed));
            let text = text.map_err(|error| self.fails(Aside::Damaged, &error))?;
            let text = text.map_err(|why| self.fails(Aside::Packed, &why))?;
            self.file = Content::Text(text);
        }
        let Content::Text(text) = &mut self.file else { return Ok(false) };
        match text.take(CHUNK as u64).read_to_end(bytes) {
            Ok(n) => Ok(n > 0),
            Err(error) => Err(self.fails(Aside::Damaged, &error)),
        }
    }

    /// The host's log gets the details, and clients get the remark.
    fn fails(&self, aside: Aside, why: &dyn std::fmt::Display) -> Aside {
        info!("history: {}: {why}", self.name.escape_debug());
        aside
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
            if let Some(remark) = history.remark.take() {
                return Poll::Ready(Err(remark.error()));
            }
            if let Some(job) = &mut history.job {
                let (files, Read { bytes, remark }) =
                    ready!(Pin::new(job).poll(cx)).map_err(io::Error::other)?;
                history.job = None;
                if !bytes.is_empty() || remark.is_some() {
                    history.files = Some(files);
                }
                (history.bytes, history.given, history.remark) = (bytes, 0, remark);
                continue;
            }
            let Some(mut files) = history.files.take() else { return Poll::Ready(Ok(())) };
            history.job = Some(spawn_blocking(move || {
                let read = files.read();
                (files, read)
            }));
        }
    }
}
