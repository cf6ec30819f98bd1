//! How a journal is shown: from which files, in which format, and down to which priority.

use serde::Deserialize;

use super::files::Files;
use super::form::Form;

/// How many of the last lines are shown if the owner does not say, as in journalctl(1).
const LINES: u32 = 10;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub(super) priority: Option<Priority>,
    pub(super) form: Form,
    pub(super) files: Files,
}

/// The lowest priority that is shown (syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Priority {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

impl View {
    pub(super) fn priority(&self) -> Option<String> {
        self.priority.map(|least| format!("--priority={}", least as u8))
    }
}

/// Options for where the log begins.
pub(super) fn begin(since: Option<u64>, lines: Option<u32>) -> impl Iterator<Item = String> {
    let lines = match (lines, since) {
        (Some(lines), _) => format!("--lines={lines}"),
        (None, Some(_)) => "--lines=all".to_owned(),
        (None, None) => format!("--lines={LINES}"),
    };
    std::iter::once(lines).chain(since.map(|time| format!("--since=@{time}")))
}
