//! Something on this host that could be a target, as a kind finds it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use glob::Pattern;
use service::printable::printable;
use toml::{Table, Value};

use super::names::OPTIONS;
use super::tasks::spawn_blocking;

/// How long a search may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a search found, and a remark for each place that could not be searched.
pub(crate) type Findings = Vec<Result<Candidate, String>>;

/// A search that waits for others, but not long.
pub(crate) async fn in_time(search: impl Future<Output = Findings>) -> Findings {
    let late = |_| vec![Err(format!("nothing answers in {} s", PATIENCE.as_secs()))];
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(late)
}

/// A search that may wait for a disk.
pub(crate) async fn search(work: impl FnOnce() -> Findings + Send + 'static) -> Findings {
    spawn_blocking(work).await.unwrap_or_else(|error| vec![Err(error.to_string())])
}

/// The longest name that is proposed. What makes it unique comes behind it.
const MAX_NAME: usize = 56;

/// What a person sees when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Screen,
    Console,
    Log,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Screen => "screen",
            Group::Console => "console",
            Group::Log => "log",
        })
    }
}

/// Something that could be a target, and the table that would make it one.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub group: Group,
    /// What it is, for people.
    pub what: String,
    /// The proposed name of the target.
    pub name: String,
    /// The target's table, without its name.
    pub table: Table,
    /// The keys of the table that say which thing it is. The others say how it is opened.
    identity: Vec<&'static str>,
}

impl Candidate {
    pub(crate) fn new(group: Group, name: &str, what: String) -> Candidate {
        // The names come from guests and other users' programs, and are shown on a terminal.
        Candidate {
            group,
            what: printable(&what).into_owned(),
            name: valid(name),
            table: Table::new(),
            identity: vec![],
        }
    }

    /// The kind that found it opens it, if it names no other.
    pub(crate) fn found_by(mut self, kind: &str) -> Candidate {
        self.table.entry("kind").or_insert(kind.into());
        self
    }

    /// Adds a key that says which thing it is.
    pub(crate) fn of(mut self, key: &'static str, value: impl Into<Value>) -> Candidate {
        self.identity.push(key);
        self.with(key, value)
    }

    /// Adds the key of a list of globs that allows only this name.
    pub(crate) fn named(self, key: &'static str, name: &str) -> Candidate {
        self.of(key, vec![Pattern::escape(name)])
    }

    /// Adds a key that says how it is opened.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Candidate {
        self.table.insert(key.to_owned(), value.into());
        self
    }

    /// Whether the table can be shown on a terminal as it is.
    pub(crate) fn is_printable(&self) -> bool {
        let mut texts = self.table.values().flat_map(texts);
        texts.all(|text| printable(text) == text)
    }

    /// Whether a target with this table opens the same thing.
    pub(crate) fn is_opened_by(&self, target: &Table) -> bool {
        self.table.get("kind") == target.get("kind")
            && self.identity.iter().all(|key| {
                // `path` may be one of `paths`.
                let several = format!("{key}s");
                let allowed = target.get(*key).or_else(|| target.get(&several));
                let allowed: Vec<&str> = allowed.map(texts).unwrap_or_default();
                texts(&self.table[*key]).iter().all(|own| allowed.iter().any(|glob| allows(glob, own)))
            })
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// Whether a value of the configuration is this one, or a glob for it, or another path to the same file.
fn allows(glob: &str, own: &str) -> bool {
    let real = |path: &str| path.starts_with('/').then(|| PathBuf::from(path).canonicalize().ok()).flatten();
    glob == own
        || Pattern::new(glob).is_ok_and(|pattern| pattern.matches_with(own, OPTIONS))
        || real(own).is_some_and(|own| real(glob) == Some(own))
}

/// The name with what the name of a target cannot have replaced by dashes.
fn valid(name: &str) -> String {
    let mut valid = String::new();
    for character in name.chars() {
        match character {
            _ if valid.len() == MAX_NAME => break,
            '.' | '_' if !valid.is_empty() => valid.push(character),
            _ if character.is_ascii_alphanumeric() => valid.push(character),
            _ if !valid.is_empty() && !valid.ends_with('-') => valid.push('-'),
            _ => {}
        }
    }
    match valid.trim_end_matches(['-', '.', '_']) {
        "" => "target".to_owned(),
        valid => valid.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid() {
        for (name, proposed) in [
            ("web-1", "web-1"),
            ("/web 1/", "web-1"),
            (".hidden", "hidden"),
            ("getty@tty1", "getty-tty1"),
            ("mnt-my\\x2ddisk", "mnt-my-x2ddisk"),
            ("ä", "target"),
        ] {
            assert_eq!(valid(name), proposed);
            assert!(crate::Target::check_name(proposed).is_ok(), "{proposed}");
        }
        assert_eq!(valid(&"x".repeat(100)).len(), MAX_NAME);
    }

    #[test]
    fn what_others_named_forges_no_line_of_the_terminal() {
        let evil = Candidate::new(Group::Log, "\u{1b}[2Ja", "log of \u{1b}[2J\u{202e}a".into());
        assert_eq!((evil.name.as_str(), evil.what.as_str()), ("2Ja", "log of \\u{1b}[2J\\u{202e}a"));
        assert!(evil.clone().of("path", "/var/log/a").is_printable());
        assert!(!evil.named("units", "\u{202e}a").is_printable());
    }

    #[test]
    fn what_a_target_opens_already_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("a.log");
        std::fs::write(&log, "").unwrap();
        std::os::unix::fs::symlink(&log, dir.path().join("link")).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let file = Candidate::new(Group::Log, "a", String::new())
            .found_by("file")
            .of("path", path("a.log"))
            .with("lines", 5);
        let web = Candidate::new(Group::Screen, "web-1", String::new())
            .found_by("libvirt")
            .named("domains", "web-1")
            .with("display", "vnc");
        for (candidate, text, is_known) in [
            (&file, format!("kind = 'file'\npath = '{}'", path("a.log")), true),
            (&file, format!("kind = 'file'\npath = '{}'", path("link")), true),
            (&file, format!("kind = 'file'\npaths = ['{}']", path("*.log")), true),
            (&file, format!("kind = 'fifo'\npath = '{}'", path("a.log")), false),
            (&file, format!("kind = 'file'\npath = '{}'", path("b.log")), false),
            (&web, "kind = 'libvirt'\ndomains = ['db', 'web-*']".into(), true),
            (&web, "kind = 'libvirt'\ndomains = ['db']".into(), false),
            (&web, "kind = 'libvirt'".into(), false),
        ] {
            assert_eq!(candidate.is_opened_by(&text.parse().unwrap()), is_known, "{text}");
        }
    }
}
