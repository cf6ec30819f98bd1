//! Where log lines go: to journald, with fields, if systemd has connected stderr to it, else to stderr as text. Sets the
//! process-wide subscriber and panic hook, once.

mod directives;

use std::io::{self, IsTerminal};
use std::panic;

use anyhow::{Context, Result};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use directives::filter;

/// The level if neither command line nor environment has one.
const DEFAULT: &str = "info";

/// The variable with a level or directives, as for `--log-level`.
const RUST_LOG: &str = "RUST_LOG";

/// The prefix of our fields in the journal: `STREAM_SESSION=…`.
const JOURNAL_PREFIX: &str = "STREAM";

/// Starts logging, and lets panics be log lines.
///
/// `level` (from `--log-level`) takes precedence over `RUST_LOG`, and that over `info`. It is a level, or directives
/// such as `info,async_nats=debug`. Audit records are logged at every level, unless `audit=off`.
///
/// # Errors
/// If the level is not valid, or logging was started before.
pub fn init(level: Option<&str>) -> Result<()> {
    let from_environment = std::env::var(RUST_LOG).ok().filter(|value| !value.trim().is_empty());
    let filter = match (level, &from_environment) {
        (Some(level), _) => filter(level).context("--log-level")?,
        (None, Some(level)) => filter(level).context(RUST_LOG)?,
        (None, None) => filter(DEFAULT)?,
    };
    match journal() {
        Some(journal) => tracing_subscriber::registry().with(filter).with(journal).try_init()?,
        None => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
            tracing_subscriber::registry().with(filter).with(lines).try_init()?;
        }
    }
    log_panics();
    Ok(())
}

/// The journal, if stderr is connected to it and it answers.
fn journal() -> Option<tracing_journald::Layer> {
    let named = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = nix::sys::stat::fstat(io::stderr()).ok()?;
    if !is_stream(&named, stderr.st_dev, stderr.st_ino) {
        return None;
    }
    // The library's own mapping is one level too high: "info" is a notice, and "debug" an info.
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    let layer = tracing_journald::layer().ok()?;
    Some(layer.with_field_prefix(Some(JOURNAL_PREFIX.to_owned())).with_priority_mappings(priorities))
}

/// Whether `$JOURNAL_STREAM` (systemd.exec(5): device and inode, decimal) names this file. A child inherits the variable
/// even if its stderr is something else.
fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    named.split_once(':').is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// Lets a panic be one log line, without a backtrace.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let message =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(target: "panic", location, thread = thread.name(), "panicked: {message}");
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_the_same_file_is_the_journal() {
        assert!(is_stream("9:31", 9, 31));
        for named in ["9:32", "8:31", "931", "", ":", "a:b"] {
            assert!(!is_stream(named, 9, 31), "{named}");
        }
    }

    /// The subscriber and the hook are process-wide, so this test has a process of its own.
    #[test]
    #[ignore = "run by lines_go_to_stderr_with_time_and_without_colours"]
    fn in_a_process_of_its_own() {
        init(std::env::var("TEST_LEVEL").ok().as_deref()).unwrap();
        tracing::info!(session = "s1", "an info line");
        tracing::warn!("a warn line");
        let _ = panic::catch_unwind(|| panic!("on purpose"));
        assert!(init(None).is_err());
    }

    fn lines(level: Option<&str>, rust_log: Option<&str>) -> String {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "--nocapture", "logging::tests::in_a_process_of_its_own"]);
        command
            .env_remove("TEST_LEVEL")
            .env_remove(RUST_LOG)
            .env("JOURNAL_STREAM", "1:1")
            .env("RUST_BACKTRACE", "1");
        level.map(|level| command.env("TEST_LEVEL", level));
        rust_log.map(|level| command.env(RUST_LOG, level));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn lines_go_to_stderr_with_time_and_without_colours() {
        let text = lines(None, None);
        let mut all = text.lines();
        let first = all.next().unwrap();
        let (time, rest) = first.split_once(' ').unwrap();
        assert!(humantime_serde::re::humantime::parse_rfc3339(time).is_ok(), "{first}");
        assert!(rest.contains("INFO") && rest.contains("an info line session=\"s1\""), "{first}");
        assert!(all.next().unwrap().contains("a warn line"));
        let panic = all.next().unwrap();
        assert!(
            panic.contains("ERROR panic: panicked: on purpose location=\"crates/service/src/logging.rs:"),
            "{panic}"
        );
        assert_eq!(all.next(), None, "a backtrace or colours: {text:?}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn the_command_line_beats_the_environment() {
        assert!(!lines(None, Some("warn")).contains("an info line"));
        assert!(lines(Some("info"), Some("warn")).contains("an info line"));
    }
}
