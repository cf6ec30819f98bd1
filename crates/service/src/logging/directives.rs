//! What is logged: a level, or directives as `EnvFilter` has them, which are checked first.

use anyhow::{Context, Result, bail};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::EnvFilter;

use crate::audit;

/// Crates that log each connection. Only their warnings are logged, unless a directive names them.
const NOISY: [&str; 7] =
    ["async_nats", "hyper", "hyper_util", "rustls", "rustls_native_certs", "tokio_rustls", "tungstenite"];

/// Module names of 0.1.0, when each program was one crate, and the crates that have these modules now. So `stream=debug`
/// in a unit's environment still means all our crates.
const FORMER_NAMES: [(&str, &[&str]); 9] = [
    (
        "stream",
        &[
            "agent",
            "client",
            "http1",
            "net",
            "opener",
            "platform",
            "protocol",
            "relay",
            "service",
            "stream",
            "targets",
            "websocket",
        ],
    ),
    ("stream::agent::target", &["targets"]),
    ("stream::agent", &["agent", "opener", "targets"]),
    ("stream::client", &["client"]),
    ("stream::daemon", &["service"]),
    ("stream::link", &["websocket", "stream", "net"]),
    ("stream::platform", &["platform"]),
    ("stream::protocol", &["protocol"]),
    ("stream::relay", &["relay", "http1"]),
];

/// The filter of these directives, after our own defaults: later ones win.
///
/// # Errors
/// If a directive is not valid.
pub(super) fn filter(text: &str) -> Result<EnvFilter> {
    let given: Vec<&str> = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    if given.is_empty() {
        bail!("unknown level \"{text}\", expected {EXPECTED}");
    }
    let mut loudest = LevelFilter::OFF;
    for directive in &given {
        let (module, level) = directive.rsplit_once('=').unwrap_or(("", directive));
        // The parser would take a misspelt level for a module's name, and log nothing.
        if !is_level(level) {
            bail!("unknown level \"{level}\", expected {EXPECTED}");
        }
        if !is_module(module) {
            bail!("unknown module \"{module}\", expected {EXPECTED}");
        }
        if module.is_empty() {
            loudest = loudest.max(level.parse()?);
        }
    }
    let quiet = loudest.min(LevelFilter::WARN);
    let mut directives = vec![format!("{}=info", audit::TARGET)];
    directives.extend(NOISY.iter().map(|name| format!("{name}={quiet}")));
    directives.extend(given.into_iter().flat_map(with_current_names));
    // Without regular expressions, which could take any time for each line.
    let parser = EnvFilter::builder().with_regex(false);
    parser.parse(directives.join(",")).with_context(|| format!("\"{text}\" is no log level"))
}

/// Whether it has the form of a module's name, perhaps followed by a span in brackets.
fn is_module(text: &str) -> bool {
    let (name, span) = text.split_at(text.find('[').unwrap_or(text.len()));
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-' | b'.'));
    is_name && (span.is_empty() || span.ends_with(']') && span.matches(['[', ']']).count() == 2)
}

/// The directives that mean the same with the current names of crates.
fn with_current_names(directive: &str) -> Vec<String> {
    let Some((module, level)) = directive.rsplit_once('=') else { return vec![directive.to_owned()] };
    let is_below = |former: &str| match module.strip_prefix(former) {
        Some(rest) => rest.is_empty() || rest.starts_with("::"),
        None => false,
    };
    // The longest name that fits counts: all of them begin with `stream`.
    let former =
        FORMER_NAMES.iter().filter(|(former, _)| is_below(former)).max_by_key(|(former, _)| former.len());
    match former {
        // A module such as `stream::pair` is a current one.
        Some(("stream", _)) if module != "stream" => vec![directive.to_owned()],
        Some((former, crates)) => {
            crates.iter().map(|name| format!("{name}{}={level}", &module[former.len()..])).collect()
        }
        None => vec![directive.to_owned()],
    }
}

const EXPECTED: &str =
    "error, warn, info, debug, trace, off, module=level or module[span{field=value}]=level";

fn is_level(word: &str) -> bool {
    ["error", "warn", "info", "debug", "trace", "off"].iter().any(|level| level.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_names_are_understood() {
        assert_eq!(
            with_current_names("stream::agent::run=debug"),
            ["agent::run=debug", "opener::run=debug", "targets::run=debug"]
        );
        assert_eq!(with_current_names("stream::platform::api=debug"), ["platform::api=debug"]);
        assert_eq!(with_current_names("stream::agent::target::file=trace"), ["targets::file=trace"]);
        assert_eq!(
            with_current_names("stream::link=debug"),
            ["websocket=debug", "stream=debug", "net=debug"]
        );
        assert_eq!(with_current_names("stream=debug").len(), FORMER_NAMES[0].1.len());
        for other in ["debug", "async_nats=debug", "stream::pair=debug", "streams=debug"] {
            assert_eq!(with_current_names(other), [other]);
        }
    }

    #[test]
    fn every_crate_that_logs_is_one_of_the_programs() {
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = 0;
        for folder in std::fs::read_dir(crates).unwrap() {
            let manifest = std::fs::read_to_string(folder.unwrap().path().join("Cargo.toml")).unwrap();
            let manifest: toml::Table = manifest.parse().unwrap();
            let name = manifest["package"]["name"].as_str().unwrap();
            if manifest["dependencies"].as_table().unwrap().contains_key("tracing") {
                assert!(FORMER_NAMES[0].1.contains(&name), "stream=debug leaves out {name}");
                found += 1;
            }
        }
        assert!(found > 5, "{found}");
    }

    #[test]
    fn levels_and_directives_are_accepted_and_misspellings_refused() {
        for text in [
            "info",
            "WARN",
            "off",
            "debug,async_nats=trace",
            "stream::relay=debug",
            "warn,",
            "info,agent[session{id=1}]=debug",
            "[session]=trace",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for text in ["", " ", "verbose", "inof", "info,relay=loud", "debug relay", "info,3"] {
            let err = filter(text).unwrap_err().to_string();
            assert!(err.starts_with("unknown level \""), "{text}: {err}");
        }
        for text in ["a=b=info", "x[span=debug", "x]=info", "x[a][b]=info", "a b=info"] {
            let err = filter(text).unwrap_err().to_string();
            assert!(err.starts_with("unknown module \""), "{text}: {err}");
        }
        let has = |text: &str, directive: &str| {
            filter(text).unwrap().to_string().split(',').any(|one| one == directive)
        };
        assert!(has("warn,", "warn"));
        assert!(has(" debug , x=trace", "debug") && has(" debug , x=trace", "x=trace"));
    }

    #[test]
    fn noisy_crates_stay_quiet_until_named() {
        let shown = |text: &str| filter(text).unwrap().to_string();
        assert!(shown("trace").contains("async_nats=warn"));
        assert!(shown("error").contains("hyper=error"));
        assert!(shown("off").contains("hyper=off"));
        let named = shown("debug,async_nats=debug");
        assert!(named.contains("async_nats=debug") && !named.contains("async_nats=warn"), "{named}");
        assert!(shown("error").contains("audit=info"));
        assert!(!shown("error,audit=off").contains("audit=info"));
    }
}
