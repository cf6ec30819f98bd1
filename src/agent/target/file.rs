//! A log file, from its last lines on, through rotation and truncation. Read-only.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::Deserialize;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::Receiver;

use super::rotation::{self, Change};
use super::{OpenError, Opened, Wrong, absolute, access};

/// Lines shown before following, unless said otherwise: as tail(1).
const DEFAULT_LINES: usize = 10;

/// Piece in which the end of the file is searched for line breaks, in bytes.
const BLOCK: usize = 64 * 1024;

/// What is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    path: String,
    #[serde(default = "default_lines")]
    lines: usize,
    #[serde(default)]
    follow_symlinks: bool,
}

fn default_lines() -> usize {
    DEFAULT_LINES
}

impl Raw {
    pub(super) fn check(&self) -> Result<File, Wrong> {
        let path = absolute("path", &self.path)?;
        Ok(File { path, lines: self.lines, follow_symlinks: self.follow_symlinks })
    }
}

/// A checked log file target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    path: PathBuf,
    lines: usize,
    follow_symlinks: bool,
}

impl File {
    pub(super) fn open(&self) -> Result<Opened, OpenError> {
        let failed = |error: io::Error| access::failed(&self.path, &error);
        // Watched before it is opened, so that no rotation falls between the two.
        let watch = rotation::Watch::of(&self.path).map_err(failed)?;
        let file = self.regular_file(&self.path)?;
        watch.add(&file).map_err(failed)?;
        let offset = last_lines(&file, self.lines).map_err(failed)?;
        let this = self.clone();
        let changes = watch.follow(&file, move |path| this.regular_file(path).ok()).map_err(failed)?;
        Ok(Opened::read_only(Box::new(Tail { file, offset, next: VecDeque::new(), changes })))
    }

    pub(super) fn probe(&self) -> Result<String, OpenError> {
        let meta =
            self.regular_file(&self.path)?.metadata().map_err(|error| access::failed(&self.path, &error))?;
        Ok(format!("opened, {} bytes", meta.len()))
    }

    fn regular_file(&self, path: &Path) -> Result<fs::File, OpenError> {
        let file = access::open(path, self.follow_symlinks)?;
        // On the descriptor: what the path names may have changed since.
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(file),
            Ok(_) => Err(OpenError::failed(format!("{} is not a regular file", path.display()))),
            Err(error) => Err(access::failed(path, &error)),
        }
    }
}

/// Where the last `lines` lines begin. Reads only the end of the file, however long it is.
fn last_lines(file: &fs::File, lines: usize) -> io::Result<u64> {
    let len = file.metadata()?.len();
    if lines == 0 {
        return Ok(len);
    }
    let mut block = vec![0; BLOCK];
    let mut found = 0;
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let piece = &mut block[..(end - start) as usize];
        file.read_exact_at(piece, start)?;
        for (at, _) in piece.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + at as u64 + 1;
            // The break at the very end belongs to the last line.
            if after == len {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(0)
}

/// The file that is read now, and those that have taken its place since.
struct Tail {
    file: fs::File,
    offset: u64,
    next: VecDeque<fs::File>,
    changes: Receiver<Change>,
}

impl Tail {
    /// Reads what is there now. A read from the page cache is short and never waits for a peer, so it is
    /// done where we are: a thread for each would cost more.
    fn read(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let n = match self.file.read_at(buf.initialize_unfilled(), self.offset)? {
            0 if self.file.metadata()?.len() < self.offset => {
                // Truncated in place, as logrotate's copytruncate does: it begins anew.
                self.offset = 0;
                self.file.read_at(buf.initialize_unfilled(), 0)?
            }
            n => n,
        };
        buf.advance(n);
        self.offset += n as u64;
        Ok(n)
    }

    /// Whether the file's successor has begun. Until then a writer may still hold the old one.
    fn is_finished(&self) -> io::Result<bool> {
        match self.next.front() {
            None => Ok(false),
            Some(next) => Ok(self.next.len() > 1 || next.metadata()?.len() > 0),
        }
    }
}

impl AsyncRead for Tail {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            // Asked before the last read: what came in between is read now, not lost.
            let is_finished = this.is_finished()?;
            if this.read(buf)? > 0 {
                return Poll::Ready(Ok(()));
            }
            if is_finished && let Some(next) = this.next.pop_front() {
                this.file = next;
                this.offset = 0;
                continue;
            }
            match ready!(this.changes.poll_recv(cx)) {
                Some(Change::Grown) => {}
                Some(Change::Next(file)) => this.next.push_back(file),
                None => return Poll::Ready(Err(io::Error::other("the log can no longer be watched"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::Path;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::time::timeout;

    use super::super::Opened;
    use super::super::tests::target;
    use crate::protocol::mode::Mode;

    async fn open(path: &Path, more: &str) -> Opened {
        target(&format!("kind = 'file'\npath = '{}'\n{more}", path.display())).open(Mode::Ro).await.unwrap()
    }

    fn append(path: &Path, text: &str) {
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    async fn expect(opened: &mut Opened, text: &str) {
        let mut got = vec![0; text.len()];
        timeout(Duration::from_secs(10), opened.output.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&got), text);
    }

    #[tokio::test]
    async fn the_last_lines_come_first_and_then_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for (content, lines, seen) in [
            ("1\n2\n3\n", 2, "2\n3\n"),
            ("1\n2\n3", 2, "2\n3"),
            ("1\n2\n3\n", 0, ""),
            ("1\n2\n", 10, "1\n2\n"),
            ("", 10, ""),
        ] {
            std::fs::write(&path, content).unwrap();
            let mut opened = open(&path, &format!("lines = {lines}")).await;
            append(&path, "new\n");
            expect(&mut opened, &format!("{seen}new\n")).await;
        }
        let long: String = (0..50_000).map(|i| format!("line {i}\n")).collect();
        std::fs::write(&path, &long).unwrap();
        let mut opened = open(&path, "lines = 20000").await;
        let at = long.find("line 30000\n").unwrap();
        expect(&mut opened, &long[at..]).await;
    }

    #[tokio::test]
    async fn three_rotations_while_nobody_reads_arrive_whole_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, "");
        let mut opened = open(&path, "").await;
        let mut written = String::new();
        for round in 0..3 {
            for line in 0..1000 {
                let text = format!("round {round} line {line}\n");
                append(&path, &text);
                written.push_str(&text);
            }
            std::fs::rename(&path, dir.path().join(format!("log.{round}"))).unwrap();
            append(&path, "");
            // The rotation is noticed by its own task, while this one does not read.
            tokio::task::yield_now().await;
        }
        append(&path, "end\n");
        written.push_str("end\n");
        expect(&mut opened, &written).await;
    }

    #[tokio::test]
    async fn a_writer_that_still_holds_the_old_file_is_heard_until_the_new_one_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut old = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let mut opened = open(&path, "").await;
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        append(&path, "");
        old.write_all(b"late\n").unwrap();
        expect(&mut opened, "late\n").await;
        old.write_all(b"later\n").unwrap();
        append(&path, "new\n");
        expect(&mut opened, "later\nnew\n").await;
    }

    #[tokio::test]
    async fn a_file_that_is_truncated_or_replaced_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, "one\ntwo\n");
        let mut opened = open(&path, "").await;
        expect(&mut opened, "one\ntwo\n").await;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        append(&path, "three\n");
        expect(&mut opened, "three\n").await;
        std::fs::remove_file(&path).unwrap();
        append(&path, "four\n");
        expect(&mut opened, "four\n").await;
        let aside = dir.path().join("aside");
        append(&aside, "five\n");
        std::fs::rename(&aside, &path).unwrap();
        expect(&mut opened, "five\n").await;
    }

    #[tokio::test]
    async fn links_and_folders_are_not_logs() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        append(&real, "x\n");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let refused = |path: &Path| target(&format!("kind = 'file'\npath = '{}'", path.display()));
        let error = refused(&link).open(Mode::Ro).await.err().unwrap().message;
        assert!(error.contains("follow_symlinks"), "{error}");
        assert!(
            refused(dir.path()).open(Mode::Ro).await.err().unwrap().message.contains("not a regular file")
        );
        expect(&mut open(&link, "follow_symlinks = true").await, "x\n").await;
        assert!(refused(&real).probe().await.unwrap().contains("2 bytes"));
    }
}
