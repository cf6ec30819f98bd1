//! A remark about a log, for those who read it. A source returns it as the error of a read, so that no byte of the log
//! can be mistaken for it, no filter hides it, and reading goes on.

use std::io;

use thiserror::Error;

/// The possible remarks. Clients receive these texts, so they name nothing of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Aside {
    /// Another file follows, or the same one after it was truncated, so that an unfinished line does not continue. Only
    /// ends the line, without a text.
    #[error("another file begins here")]
    NextFile,
    /// How many bytes were lost.
    #[error("{0} bytes are missing here: they came faster than they were taken")]
    Missed(u64),
    /// How many files were deleted before they could be read.
    #[error("{}", missed_files(*.0))]
    MissedFiles(u32),
    /// The file was truncated or written again, perhaps before all of it was read. It continues from its beginning.
    #[error("lines may be missing here: the file was truncated while it was not read")]
    Truncated,
    /// A rotated file is packed in a format that is not supported, or not as its name says.
    #[error("an older file of this log is left out: it is not plain text or gzip")]
    Packed,
    /// A rotated file is incomplete.
    #[error("the rest of this older file cannot be read: it is damaged")]
    Damaged,
}

fn missed_files(count: u32) -> String {
    match count {
        1 => "a file of this log is missing here: it was deleted before it was read".to_owned(),
        _ => format!("{count} files of this log are missing here: they were deleted before they were read"),
    }
}

impl Aside {
    /// The error that a source returns for the remark.
    pub(crate) fn error(self) -> io::Error {
        io::Error::other(self)
    }

    /// Takes the remark out of an error that a source returned, or returns the error.
    pub(super) fn from_error(error: io::Error) -> io::Result<Aside> {
        error.downcast()
    }
}
