//! What is wrong with a configuration, where, and what was probably meant.

use std::path::{Path, PathBuf};

use serde::de::Unexpected;
use toml::{Table, Value};

use super::expected;
use super::origin::{self, Origins};

/// An error in one file: `/etc/stream-agent/config.d/10-x.toml:7: unknown key …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", .file.display(), .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ConfigError {
    /// The file, or a directory of fragments.
    pub file: PathBuf,
    /// Line of the key, from 1. None if the error is about the whole file.
    pub line: Option<usize>,
    /// What is wrong, with the full name of the key.
    pub message: String,
    /// The line that fixes it, and where to write it.
    pub remedy: Option<String>,
}

impl ConfigError {
    pub(super) fn new(file: &Path, line: Option<usize>, message: String) -> ConfigError {
        ConfigError { file: file.to_owned(), line, message, remedy: None }
    }

    /// Adds the remedy: a command, or a line for `section` of the file, such as `[nats]`.
    #[must_use]
    pub fn corrected_by(mut self, section: Option<&str>, line: &str) -> ConfigError {
        self.remedy = Some(match section {
            Some(section) => format!("in {section} of {}: {line}", self.file.display()),
            None => line.to_owned(),
        });
        self
    }
}

/// An error of serde, explained for a person who edits the file.
pub(super) struct Explained {
    /// The key, one segment per element.
    pub(super) path: Vec<String>,
    pub(super) message: String,
}

impl Explained {
    /// Reads serde's fixed phrases (`serde::de::Error::unknown_field` and its siblings).
    ///
    /// serde reads a tagged or flattened type from a buffer, which does not know the path to the key. Then `path` ends
    /// above the key, which is searched for in the table.
    pub(super) fn new(message: &str, mut path: Vec<String>, table: &Table, origins: &Origins) -> Explained {
        if message.starts_with("unknown field") {
            let name = quoted(message).next().unwrap_or_default();
            if path.last().is_none_or(|last| last != name) {
                path = match origins.below(&path, name) {
                    Some(found) => found.to_vec(),
                    None => [path, vec![name.to_owned()]].concat(),
                };
            }
        } else if message.starts_with("unknown variant") {
            let name = quoted(message).next().unwrap_or_default();
            find(table, &mut path, |value| value.as_str() == Some(name));
        } else if message.starts_with("missing field") {
            let name = quoted(message).next().unwrap_or_default();
            let missing = [path.as_slice(), &[name.to_owned()]].concat();
            return Explained { message: format!("missing key `{}`", origin::dotted(&missing)), path };
        } else {
            find(table, &mut path, |value| is_refused_by(message, value));
        }
        // A section in double brackets is a list of sections.
        if message.starts_with("invalid type: map, expected a s")
            && path.last().is_some_and(|last| last == "[0]")
        {
            path.pop();
            let key = origin::dotted(&path);
            let text = match message.ends_with("a sequence") {
                true => format!("is one section: write [{key}], and not [[{key}]]"),
                false => format!(
                    "is no list of sections: write [{key}] for one section, or {key} = [\"…\"] for a list"
                ),
            };
            return Explained { message: format!("`{key}`: {text}"), path };
        }
        let key = origin::dotted(&path);
        let message = match explain(message, &key) {
            words if message.starts_with("unknown field") => {
                let name = quoted(message).next().unwrap_or_default();
                words.replacen(&format!("`{name}`"), &format!("`{key}`"), 1)
            }
            words if key.is_empty() => words,
            words => match at(table, &path) {
                // A check of our own, whose message may not have the value.
                Some(Value::String(text)) if words == message && !words.contains(text.as_str()) => {
                    format!("`{key}`: {text:?}: {words}")
                }
                _ => format!("`{key}`: {words}"),
            },
        };
        Explained { path, message }
    }
}

/// Explains serde's error about the value of `key`.
pub fn explain(message: &str, key: &str) -> String {
    let name = quoted(message).next().unwrap_or_default();
    let known: Vec<&str> = quoted(message).skip(1).collect();
    if message.starts_with("unknown field") {
        format!("unknown key `{name}`{}", hint(name, &known, "keys"))
    } else if message.starts_with("unknown variant") {
        format!("unknown value `{name}`{}", hint(name, &known, "values"))
    } else if message.starts_with("missing field") {
        format!("missing key `{name}`")
    } else {
        expected::explain_type(message, key).unwrap_or_else(|| message.to_owned())
    }
}

/// The names in serde's phrases: what was written, and what is known.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

/// The value at a path.
pub(super) fn at<'t>(table: &'t Table, path: &[String]) -> Option<&'t Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(first)?, |value, key| match value {
        Value::Table(table) => table.get(key),
        Value::Array(array) => array.get(key.strip_prefix('[')?.strip_suffix(']')?.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Extends `path` to the value below it that fits. Leaves it as it is if none or several fit.
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

/// Calls `visit` for each value that is neither table nor array, with its path.
fn collect(value: &Value, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &Value)) {
    let mut enter = |segment, value| {
        path.push(segment);
        collect(value, path, visit);
        path.pop();
    };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| enter(key.clone(), value)),
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(at, value)| enter(origin::index(at), value))
        }
        value => visit(path, value),
    }
}

/// Whether a message such as `invalid type: string "x", expected u16` is about this value.
fn is_refused_by(message: &str, value: &Value) -> bool {
    let unexpected = match value {
        Value::String(text) => Unexpected::Str(text),
        Value::Integer(number) => Unexpected::Signed(*number),
        Value::Float(number) => Unexpected::Float(*number),
        Value::Boolean(truth) => Unexpected::Bool(*truth),
        _ => return false,
    };
    ["type", "value"].iter().any(|what| message.starts_with(&format!("invalid {what}: {unexpected},")))
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

/// The known word that is nearest to `name`, if it differs by at most one typing error in three characters.
pub fn nearest<'k>(name: &str, known: &'k [impl AsRef<str>]) -> Option<&'k str> {
    let distance = |word: &str| strsim::damerau_levenshtein(name, word);
    let allowed = (name.chars().count() / 3).max(1);
    known.iter().map(AsRef::as_ref).filter(|word| distance(word) <= allowed).min_by_key(|word| distance(word))
}
