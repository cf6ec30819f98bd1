//! Log lines: to journald with fields when systemd has connected stderr to it, else to stderr for
//! people. Sets the process-wide subscriber and panic hook, once.

use std::io::{self, IsTerminal};
use std::panic;

use anyhow::{Context, Result, bail};
use tracing::level_filters::LevelFilter;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::audit;

/// What is logged when neither the command line nor the environment says anything.
const DEFAULT: &str = "info";

/// The environment's wish, in the form of `--log-level`.
const RUST_LOG: &str = "RUST_LOG";

/// Crates that tell about every connection; their warnings are enough unless asked for by name.
const NOISY: [&str; 7] =
    ["async_nats", "hyper", "hyper_util", "rustls", "rustls_native_certs", "tokio_rustls", "tungstenite"];

/// What our fields are called in the journal: `STREAM_SESSION=…`.
const JOURNAL_PREFIX: &str = "STREAM";

/// Starts logging and makes panics log lines.
///
/// `level` (from `--log-level`) beats `RUST_LOG` beats `info`. It is a level, or directives such
/// as `info,async_nats=debug`. Audit records are logged whatever the level, unless `audit=off`.
///
/// # Errors
/// When the level makes no sense, or when logging was started before.
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

/// The directives with our own defaults before them: what comes later wins.
fn filter(wish: &str) -> Result<Targets> {
    let wished: Vec<&str> = wish.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    if wished.is_empty() {
        bail!("unknown level \"{wish}\", expected {EXPECTED}");
    }
    let mut loudest = LevelFilter::OFF;
    for directive in &wished {
        let (module, level) = directive.rsplit_once('=').unwrap_or(("", directive));
        // Left alone, what is misspelt would be taken for a module's name and log nothing.
        if !is_level(level) {
            bail!("unknown level \"{level}\", expected {EXPECTED}");
        }
        if module.contains(['[', '=']) {
            bail!("unknown module \"{module}\", expected {EXPECTED}");
        }
        if module.is_empty() {
            loudest = loudest.max(level.parse()?);
        }
    }
    let quiet = loudest.min(LevelFilter::WARN);
    let mut directives = vec![format!("{}=info", audit::TARGET)];
    directives.extend(NOISY.iter().map(|name| format!("{name}={quiet}")));
    directives.extend(wished.into_iter().map(str::to_owned));
    directives.join(",").parse().with_context(|| format!("\"{wish}\" is no log level"))
}

const EXPECTED: &str = "error, warn, info, debug, trace, off or module=level";

fn is_level(word: &str) -> bool {
    ["error", "warn", "info", "debug", "trace", "off"].iter().any(|level| level.eq_ignore_ascii_case(word))
}

/// The journal, if stderr already goes there and it answers.
fn journal() -> Option<tracing_journald::Layer> {
    let named = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = nix::sys::stat::fstat(io::stderr()).ok()?;
    if !is_stream(&named, stderr.st_dev, stderr.st_ino) {
        return None;
    }
    // The library's own mapping makes "info" a notice and "debug" an info: one too loud.
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

/// Whether `$JOURNAL_STREAM` (systemd.exec(5): device and inode, decimal) names this file. A child
/// inherits the variable even where its stderr was sent elsewhere.
fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    named.split_once(':').is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// One line for a panic, where the rest of the log is. A backtrace is for a debugger.
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
    fn levels_and_directives_are_taken_and_misspellings_refused() {
        for wish in ["info", "WARN", "off", "debug,async_nats=trace", "stream::relay=debug", "warn,"] {
            assert!(filter(wish).is_ok(), "{wish}");
        }
        for wish in ["", " ", "verbose", "inof", "info,relay=loud", "debug relay", "info,3"] {
            let err = filter(wish).unwrap_err().to_string();
            assert!(err.starts_with("unknown level \""), "{wish}: {err}");
        }
        for wish in ["info,x[span]=debug", "x[{field}]=info", "a=b=info"] {
            let err = filter(wish).unwrap_err().to_string();
            assert!(err.starts_with("unknown module \""), "{wish}: {err}");
        }
        assert_eq!(filter("warn,").unwrap().default_level(), Some(LevelFilter::WARN));
        assert_eq!(filter(" debug , x=trace").unwrap().default_level(), Some(LevelFilter::DEBUG));
    }

    #[test]
    fn noisy_crates_stay_quiet_until_named() {
        let shown = |wish: &str| filter(wish).unwrap().to_string();
        assert!(shown("trace").contains("async_nats=warn"));
        assert!(shown("error").contains("hyper=error"));
        assert!(shown("off").contains("hyper=off"));
        let named = shown("debug,async_nats=debug");
        assert!(named.contains("async_nats=debug") && !named.contains("async_nats=warn"), "{named}");
        assert!(shown("error").contains("audit=info"));
        assert!(!shown("error,audit=off").contains("audit=info"));
    }

    #[test]
    fn only_the_same_file_is_the_journal() {
        assert!(is_stream("9:31", 9, 31));
        for named in ["9:32", "8:31", "931", "", ":", "a:b"] {
            assert!(!is_stream(named, 9, 31), "{named}");
        }
    }

    /// The subscriber and the hook belong to the whole process, so they are tried in one of their own.
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
        command.args([
            "--exact",
            "--ignored",
            "--nocapture",
            "daemon::logging::tests::in_a_process_of_its_own",
        ]);
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
            panic.contains("ERROR panic: panicked: on purpose location=\"src/daemon/logging.rs:"),
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
