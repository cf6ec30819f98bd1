//! The lines of a log: which of them pass a filter, and how they look.

use memchr::memmem::Finder;
use regex_lite::{Regex, RegexBuilder};
use tokio::io::ReadBuf;

use super::super::opened::Unable;
use super::aside::Aside;
use super::visible::Visible;

/// Bytes of a line that a filter looks at; what is longer is judged by its beginning.
const MAX_LINE: usize = 64 * 1024;

/// Memory that an idle stream keeps.
const KEPT: usize = 1024;

/// Memory that a compiled filter may take, and with it the time for each byte: 3 microseconds at most (the engine steps
/// through all states of an expression at once), where 256 KiB would allow 100.
const MAX_FILTER: usize = 1 << 13;

/// Which lines pass.
pub(super) struct Filter {
    pattern: Pattern,
    /// Those that do not match.
    invert: bool,
}

enum Pattern {
    /// A word, as most filters are, is found a hundred times faster than an expression.
    Word(Box<Finder<'static>>),
    Expression(Regex),
}

impl Filter {
    /// Says what is wrong with the pattern.
    pub(super) fn new(pattern: &str, invert: bool) -> Result<Filter, Unable> {
        let pattern = if regex_lite::escape(pattern) == pattern {
            Pattern::Word(Box::new(Finder::new(pattern).into_owned()))
        } else {
            let built = RegexBuilder::new(pattern).size_limit(MAX_FILTER).build();
            Pattern::Expression(built.map_err(Unable::Filter)?)
        };
        Ok(Filter { pattern, invert })
    }

    fn passes(&self, line: &[u8]) -> bool {
        let is_match = match &self.pattern {
            Pattern::Word(word) => word.find(line).is_some(),
            Pattern::Expression(pattern) => pattern.is_match(&String::from_utf8_lossy(line)),
        };
        is_match != self.invert
    }
}

pub(super) struct Lines {
    /// `None` leaves every byte as it is.
    visible: Option<Visible>,
    filter: Option<Filter>,
    /// Whether the current line passes, once that is known.
    verdict: Option<bool>,
    /// The beginning of a line whose verdict is not known.
    line: Vec<u8>,
    /// Whether something of the current line has been given already.
    is_begun: bool,
    /// What is to be given, from `given` on.
    out: Vec<u8>,
    given: usize,
}

impl Lines {
    pub(super) fn new(is_raw: bool) -> Lines {
        Lines {
            visible: (!is_raw).then(Visible::default),
            filter: None,
            verdict: None,
            line: vec![],
            is_begun: false,
            out: vec![],
            given: 0,
        }
    }

    pub(super) fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
        if self.filter.is_none() {
            let line = std::mem::take(&mut self.line);
            // A line that was dropped so far is not begun in its middle.
            if self.verdict != Some(false) {
                self.show(&line);
                self.verdict = None;
            }
        } else if self.is_begun {
            self.verdict = Some(true);
        }
    }

    /// Forgets the line that was begun.
    pub(super) fn begin_anew(&mut self) {
        self.line.clear();
        self.verdict = None;
        if let Some(visible) = &mut self.visible {
            visible.finish(&mut self.out);
        }
        if std::mem::take(&mut self.is_begun) {
            self.out.push(b'\n');
        }
    }

    /// Says something of our own, on a line of its own that no filter hides.
    pub(super) fn remark(&mut self, aside: Aside) {
        if !self.line.is_empty() {
            self.judge();
        }
        self.begin_anew();
        if aside != Aside::NextFile {
            self.out.extend_from_slice(format!("[{aside}]\n").as_bytes());
        }
    }

    /// Whether no byte has to be looked at.
    pub(super) fn is_passing_all(&self) -> bool {
        self.visible.is_none() && self.is_unfiltered()
    }

    /// Whether these bytes can go as they are; if so, they count as given.
    pub(super) fn is_passing(&mut self, bytes: &[u8]) -> bool {
        let passes =
            self.is_unfiltered() && self.visible.as_ref().is_none_or(|visible| visible.is_harmless(bytes));
        if passes {
            self.is_begun = !bytes.ends_with(b"\n");
        }
        passes
    }

    pub(super) fn is_unfiltered(&self) -> bool {
        self.filter.is_none() && self.verdict.is_none()
    }

    /// Takes bytes of the log.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if self.is_unfiltered() {
            return self.show(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let is_whole = piece.ends_with(b"\n");
            match self.verdict {
                Some(true) => self.show(piece),
                Some(false) => {}
                None => {
                    self.line.extend_from_slice(piece);
                    if is_whole || self.line.len() >= MAX_LINE {
                        self.judge();
                    }
                }
            }
            if is_whole {
                self.verdict = None;
            }
        }
    }

    /// Nothing follows; whether there is something to give yet.
    pub(super) fn finish(&mut self) -> bool {
        if !self.line.is_empty() {
            self.judge();
        }
        if let Some(visible) = &mut self.visible {
            visible.finish(&mut self.out);
        }
        self.given < self.out.len()
    }

    /// Gives what is there; false if there is nothing.
    pub(super) fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let left = &self.out[self.given..];
        if left.is_empty() {
            return false;
        }
        let n = left.len().min(buf.remaining());
        buf.put_slice(&left[..n]);
        self.given += n;
        if self.given == self.out.len() {
            self.given = 0;
            self.out.clear();
            self.out.shrink_to(KEPT);
        }
        true
    }

    fn judge(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        // A filter's `$` means the end of the line as it is seen.
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let passes = self.filter.as_ref().is_none_or(|filter| filter.passes(text));
        self.verdict = Some(passes);
        if passes {
            self.show(&line);
        }
    }

    fn show(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.is_begun = *last != b'\n';
        match &mut self.visible {
            Some(visible) => visible.show(bytes, &mut self.out),
            None => self.out.extend_from_slice(bytes),
        }
    }
}
