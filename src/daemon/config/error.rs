//! What is wrong with the configuration, where, and what was probably meant.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Unexpected;
use toml::{Table, Value};

use super::origin::{self, Origins};

/// One thing wrong in one file: `/etc/stream-agent/config.d/10-x.toml:7: unknown key …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or a directory of fragments.
    pub file: PathBuf,
    /// Line of the key, from 1; none when the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong, with the full name of the key.
    pub message: String,
    /// The line that mends it, and where it belongs.
    pub remedy: Option<String>,
}

impl ConfigError {
    pub(super) fn new(file: &Path, line: Option<usize>, message: String) -> ConfigError {
        ConfigError { file: file.to_owned(), line, message, remedy: None }
    }

    /// The same error, with what mends it: a command, or a line for `section` of its file, such as `[nats]`.
    #[must_use]
    pub fn mended_by(mut self, section: Option<&str>, line: &str) -> ConfigError {
        self.remedy = Some(match section {
            Some(section) => format!("in {section} of {}: {line}", self.file.display()),
            None => line.to_owned(),
        });
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// serde's complaint in the words of somebody who edits the file.
pub(super) struct Trouble {
    /// The key that is meant, one segment per element.
    pub(super) path: Vec<String>,
    pub(super) message: String,
}

impl Trouble {
    /// Reads serde's fixed phrases (`serde::de::Error::unknown_field` and its siblings).
    ///
    /// A tagged or flattened type is read from a buffer, which loses the way to the key: then
    /// `path` ends above it, and the key is looked for in what was written.
    pub(super) fn read(message: &str, mut path: Vec<String>, table: &Table, origins: &Origins) -> Trouble {
        let mut quoted = message.split('`').skip(1).step_by(2);
        let name = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        let message = if message.starts_with("unknown field") {
            if path.last().is_none_or(|last| last != name) {
                path = match origins.below(&path, name) {
                    Some(found) => found.to_vec(),
                    None => [path, vec![name.to_owned()]].concat(),
                };
            }
            format!("unknown key `{}`{}", origin::dotted(&path), hint(name, &known, "keys"))
        } else if message.starts_with("unknown variant") {
            find(table, &mut path, |value| value.as_str() == Some(name));
            format!("`{}`: unknown value `{name}`{}", origin::dotted(&path), hint(name, &known, "values"))
        } else if message.starts_with("missing field") {
            let missing = [path.as_slice(), &[name.to_owned()]].concat();
            format!("missing key `{}`", origin::dotted(&missing))
        } else {
            find(table, &mut path, |value| is_refused_by(message, value));
            let key = if path.is_empty() { String::new() } else { format!("`{}`: ", origin::dotted(&path)) };
            format!("{key}{message}{}", instead(message))
        };
        Trouble { path, message }
    }
}

/// What to write, where serde names only the type that it wants.
pub fn instead(message: &str) -> String {
    let text = message.strip_prefix("invalid type: string ");
    if let Some(text) = text.and_then(|rest| rest.strip_suffix(", expected a sequence")) {
        format!(": write [{text}]")
    } else if message.ends_with(", expected a duration") {
        ", such as \"10s\" or \"5m\"".into()
    } else {
        String::new()
    }
}

/// Extends `path` to the one value below it that fits; leaves it alone if none or several do.
fn find(table: &Table, path: &mut Vec<String>, fits: impl Fn(&Value) -> bool) {
    let mut fitting = Vec::new();
    collect(&Value::Table(table.clone()), &mut Vec::new(), &mut |below, value| {
        if below.starts_with(path) && fits(value) {
            fitting.push(below.to_vec());
        }
    });
    if let [one] = fitting.as_slice() {
        path.clone_from(one);
    }
}

/// Shows every value that is no table and no array to `see`, with its path.
fn collect(value: &Value, path: &mut Vec<String>, see: &mut impl FnMut(&[String], &Value)) {
    let mut enter = |segment, value| {
        path.push(segment);
        collect(value, path, see);
        path.pop();
    };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| enter(key.clone(), value)),
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(at, value)| enter(origin::index(at), value))
        }
        value => see(path, value),
    }
}

/// Whether `invalid type: string "x", expected u16` and the like speak of this value.
fn is_refused_by(message: &str, value: &Value) -> bool {
    let shown = match value {
        Value::String(text) => Unexpected::Str(text),
        Value::Integer(number) => Unexpected::Signed(*number),
        Value::Float(number) => Unexpected::Float(*number),
        Value::Boolean(truth) => Unexpected::Bool(*truth),
        _ => return false,
    };
    ["type", "value"].iter().any(|what| message.starts_with(&format!("invalid {what}: {shown},")))
}

fn hint(name: &str, known: &[&str], what: &str) -> String {
    if let Some(nearest) = nearest(name, known) {
        format!(", did you mean `{nearest}`?")
    } else if known.is_empty() {
        format!(", no {what} are known here")
    } else {
        let list: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
        format!(", known {what} are {}", list.join(", "))
    }
}

/// The known word that one slip of the fingers in three characters would turn into `name`.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let slips = |word: &str| strsim::damerau_levenshtein(name, word);
    let allowed = (name.chars().count() / 3).max(1);
    known.iter().copied().filter(|word| slips(word) <= allowed).min_by_key(|word| slips(word))
}
