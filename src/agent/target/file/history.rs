//! What was rotated away (logrotate(8)) and is still there, plain or gzip'd, oldest first. What cannot be read is left
//! out with a remark; it is no reason to end the log.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::JoinHandle;
use tracing::info;

use super::packed::text_of;
use super::place::{Place, path_of};
use super::rotated::{is_as_open, is_rotated, unpacked};
use crate::agent::target::log::Aside;

/// Bytes read at a time. Unlike what was just written, old files come from a disk: not on the runtime's threads.
const CHUNK: usize = 256 * 1024;

/// The rotated files of a log, as one stream.
pub(super) struct History {
    files: Option<Files>,
    job: Option<JoinHandle<(Files, Read)>>,
    bytes: Vec<u8>,
    given: usize,
    /// Said after the bytes.
    remark: Option<Aside>,
}

/// Files that are not read to their ends.
struct Files(VecDeque<Rotated>);

struct Rotated {
    name: String,
    file: Content,
}

enum Content {
    Unread(File),
    Text(Box<dyn io::Read + Send>),
}

/// What comes next of the files.
#[derive(Default)]
struct Read {
    /// None at the end of the last.
    bytes: Vec<u8>,
    /// What is to be said after them.
    remark: Option<Aside>,
}

impl History {
    /// The newest `most` files of the log that were written to since a time (seconds since 1970), without the one
    /// that has its name now.
    pub(super) fn of(place: &Place, current: &File, since: u64, most: usize) -> io::Result<History> {
        let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let log = current.metadata()?;
        let mut names = vec![];
        for entry in fs::read_dir(path_of(&place.open_dir()?))? {
            let name = entry?.file_name();
            if is_rotated(place.name(), &name) {
                names.push(name);
            }
        }
        let mut found = vec![];
        for name in &names {
            let plain = name.to_str().map(unpacked).unwrap_or_default();
            // Beside the file that it is made of, it is not finished.
            if name != plain && names.iter().any(|name| name == plain) {
                continue;
            }
            // Links and what is no file are not history; what went away meanwhile is none any more.
            let Ok(file) = place.open(name) else { continue };
            let metadata = file.metadata()?;
            let is_history = identity(&metadata) != identity(&log) && is_as_open(&log, &metadata);
            if is_history && metadata.mtime() >= since.cast_signed() {
                let name = name.to_string_lossy().into_owned();
                let file = Rotated { name, file: Content::Unread(file) };
                found.push((metadata.mtime(), metadata.mtime_nsec(), file));
                // Only so many are open at a time, however many there are.
                found.sort_by_key(|(seconds, nanos, _)| std::cmp::Reverse((*seconds, *nanos)));
                found.truncate(most);
            }
        }
        let files = found.into_iter().rev().map(|(.., file)| file).collect();
        Ok(History { files: Some(Files(files)), job: None, bytes: vec![], given: 0, remark: None })
    }
}

impl Files {
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
    /// Reads some bytes; whether more may follow, or why not.
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

    /// The owner's log gets the details, clients the remark.
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
            history.job = Some(tokio::task::spawn_blocking(move || {
                let read = files.read();
                (files, read)
            }));
        }
    }
}
