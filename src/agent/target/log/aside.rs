//! A remark about a log, from what reads it to whoever looks at it. It travels in the place of a read's error, so
//! that no byte of the log can be taken for it, no filter hides it, and what follows is read on.

use std::fmt;
use std::io;

/// What may be remarked. Clients get these words, so none of them names anything of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent::target) enum Aside {
    /// What follows is of another file, or of the same one after it was truncated: a line that is
    /// begun does not go on. Only the line ends, nothing is said.
    NextFile,
    /// So many bytes were not kept.
    Missed(u64),
    /// A rotated file is packed in a way that is not read here, or not as its name says.
    Packed,
    /// A rotated file ends before its time.
    Damaged,
}

impl Aside {
    /// The remark, as a source returns it instead of bytes.
    pub(in crate::agent::target) fn error(self) -> io::Error {
        io::Error::other(self)
    }

    /// The remark in what a source returned, or the error that it is.
    pub(super) fn of(error: io::Error) -> io::Result<Aside> {
        error.downcast()
    }
}

impl fmt::Display for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aside::NextFile => f.write_str("another file begins here"),
            Aside::Missed(bytes) => {
                write!(f, "{bytes} bytes are missing here: they came faster than they were taken")
            }
            Aside::Packed => {
                f.write_str("an older file of this log is left out: it is not plain text or gzip")
            }
            Aside::Damaged => f.write_str("the rest of this older file cannot be read: it is damaged"),
        }
    }
}

impl std::error::Error for Aside {}
