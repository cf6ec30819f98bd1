//! Filters the lines of a log, and makes control characters visible.

use memchr::memmem::Finder;
use regex::bytes::Regex;
use tokio::io::ReadBuf;

use super::aside::Aside;
use super::visible::Visible;
use crate::support::opened::Unable;
use crate::support::pattern::compile;

/// How many bytes of a line a filter inspects; longer lines are judged by their beginning.
const MAX_LINE: usize = 64 * 1024;

/// Bytes of buffer that an idle stream keeps.
const KEPT: usize = 1024;

/// Bytes that a compiled filter may take. They bound the time for each byte of a log, because the engine may have to step
/// through all states of an expression: at this size it takes 5 microseconds.
const MAX_FILTER: usize = 192 * 1024;

/// Decides which lines are shown.
pub(super) struct Filter {
    pattern: Pattern,
    /// Shows the lines that do not match.
    invert: bool,
}

enum Pattern {
    /// Most filters are a word, which is found a hundred times faster than an expression.
    Word(Box<Finder<'static>>),
    Expression(Regex),
}

impl Filter {
    /// The error says what is wrong with the pattern.
    pub(super) fn new(pattern: &str, invert: bool) -> Result<Filter, Unable> {
        let pattern = if regex::escape(pattern) == pattern {
            Pattern::Word(Box::new(Finder::new(pattern).into_owned()))
        } else {
            Pattern::Expression(compile(pattern, MAX_FILTER)?)
        };
        Ok(Filter { pattern, invert })
    }

    pub(super) fn passes(&self, line: &[u8]) -> bool {
        let is_match = match &self.pattern {
            Pattern::Word(word) => word.find(line).is_some(),
            Pattern::Expression(pattern) => pattern.is_match(String::from_utf8_lossy(line).as_bytes()),
        };
        is_match != self.invert
    }
}

pub(super) struct Lines {
    /// `None` leaves every byte as it is.
    visible: Option<Visible>,
    filter: Option<Filter>,
    /// Whether the current line is shown, if that is decided.
    verdict: Option<bool>,
    /// The beginning of a line that is not decided yet.
    line: Vec<u8>,
    /// Whether a part of the current line was already given.
    is_begun: bool,
    /// Bytes to give, from `given` on.
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
            // The rest of a dropped line is not shown either.
            if self.verdict != Some(false) {
                self.show(&line);
                self.verdict = None;
            }
        } else if self.is_begun {
            self.verdict = Some(true);
        }
    }

    pub(super) fn start_over(&mut self) {
        self.line.clear();
        self.verdict = None;
        if let Some(visible) = &mut self.visible {
            visible.finish(&mut self.out);
        }
        if std::mem::take(&mut self.is_begun) {
            self.out.push(b'\n');
        }
    }

    /// Adds a remark on a line of its own that no filter hides.
    pub(super) fn remark(&mut self, aside: Aside) {
        if !self.line.is_empty() {
            self.judge();
        }
        self.start_over();
        if aside != Aside::NextFile {
            self.out.extend_from_slice(format!("[{aside}]\n").as_bytes());
        }
    }

    /// Whether no byte needs to be inspected.
    pub(super) fn is_passing_all(&self) -> bool {
        self.visible.is_none() && self.is_unfiltered()
    }

    /// Whether these bytes can be passed on unchanged; if so, they count as given.
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

    /// Adds bytes of the log.
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

    /// Ends the log. Returns whether bytes are left to give.
    pub(super) fn finish(&mut self) -> bool {
        if !self.line.is_empty() {
            self.judge();
        }
        if let Some(visible) = &mut self.visible {
            visible.finish(&mut self.out);
        }
        self.given < self.out.len()
    }

    /// Gives bytes; returns false if there are none.
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
        // A filter's `$` means the visible end of the line.
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
