//! A file of a log while it is open: its text, and what is known of its writer.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sys::inotify::WatchDescriptor;
use tokio::io::ReadBuf;
use tokio::sync::OwnedSemaphorePermit;

use super::location::path_of;
use super::text::{ReadResult, Text};
use super::watcher::New;

/// Bytes given at a time.
pub(super) const CHUNK: usize = 64 * 1024;

/// An open file of a log.
pub(super) struct OpenFile {
    pub(super) text: Text,
    pub(super) watch: Option<WatchDescriptor>,
    pub(super) is_unseen: bool,
    /// How many files before it are missing.
    pub(super) missed: u32,
    /// Whether it is only assumed to be a file that was left before.
    pub(super) is_guessed: bool,
    _room: OwnedSemaphorePermit,
}

impl OpenFile {
    pub(super) fn new(New { file, is_unseen, missed, room }: New, offset: u64) -> OpenFile {
        OpenFile {
            text: Text::new(file, offset),
            watch: None,
            is_unseen,
            missed,
            is_guessed: false,
            _room: room,
        }
    }

    /// Reads what is there, on this thread: what a log's reader wants was just written and comes from memory, and
    /// copying 64 KiB is faster than passing them to another thread.
    pub(super) fn read(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<ReadResult> {
        let wanted = buf.remaining().min(CHUNK);
        let next = self.text.next(buf.initialize_unfilled_to(wanted));
        Ok(match next {
            Ok(ReadResult::Bytes(read)) => {
                buf.advance(read);
                self.is_guessed = false;
                ReadResult::Bytes(read)
            }
            Ok(ReadResult::End) if self.text.is_rewritten()? => ReadResult::Rewritten,
            Ok(next) => {
                // At its end: what was read before is still there.
                self.is_guessed &= next == ReadResult::Rewritten;
                next
            }
            // A server has deleted it.
            Err(error) if self.is_unseen && is_stale(&error) => ReadResult::End,
            Err(error) => return Err(error),
        })
    }

    pub(super) fn begin_again(&mut self) {
        // The open file may be the one that a server had under this name before.
        if let (true, Ok(file)) = (self.is_unseen, File::open(path_of(&self.text.file))) {
            self.text.file = file;
        }
        self.text.begin_again();
    }
}

pub(super) fn is_stale(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ESTALE as i32)
}
