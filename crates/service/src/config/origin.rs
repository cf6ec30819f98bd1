//! The file and line of each key.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::{DeTable, DeValue};

/// The place where a key was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Absolute if the caller's path was.
    pub file: PathBuf,
    /// Line of the key, from 1.
    pub line: usize,
}

/// One key per element; an element of an array is `[0]`.
type KeyPath = Vec<String>;

/// The origin of each key path, including tables and elements of arrays.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<KeyPath, Origin>);

impl Origins {
    /// The origins of all keys of one file.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Origins, toml::de::Error> {
        let document = DeTable::parse(text)?;
        let mut walk = Walk { file, text, path: Vec::new(), found: BTreeMap::new() };
        walk.table(document.get_ref());
        Ok(Origins(walk.found))
    }

    /// Adds the origins of a file that was merged over this one.
    ///
    /// A table that is in both keeps its first origin. Its values have origins of their own.
    pub(super) fn add(&mut self, other: Origins) {
        for (path, origin) in other.0 {
            self.0.entry(path).or_insert(origin);
        }
    }

    /// Forgets a path and everything below it.
    pub(super) fn forget(&mut self, path: &[String]) {
        self.0.retain(|known, _| !known.starts_with(path));
    }

    /// The origin of the longest prefix of `path` that has one.
    pub(super) fn nearest(&self, path: &[&str]) -> Option<&Origin> {
        (1..=path.len()).rev().find_map(|end| self.get(&path[..end]))
    }

    /// The shallowest path below `above` that ends in `key`.
    pub(super) fn below(&self, above: &[String], key: &str) -> Option<&[String]> {
        let ends_in_key = |path: &&KeyPath| {
            path.len() > above.len() && path.starts_with(above) && path.last().is_some_and(|last| last == key)
        };
        self.0.keys().filter(ends_in_key).min_by_key(|path| path.len()).map(Vec::as_slice)
    }

    /// A direct child of `prefix` that both define: its path, its origin in `other`, and its origin here.
    pub(super) fn clash<'o>(
        &'o self,
        other: &'o Origins,
        prefix: &[&str],
    ) -> Option<(&'o [String], &'o Origin, &'o Origin)> {
        let is_child =
            |path: &[String]| path.len() == prefix.len() + 1 && path.iter().zip(prefix).all(|(a, b)| a == b);
        other
            .0
            .iter()
            .filter(|(path, _)| is_child(path))
            .find_map(|(path, second)| Some((path.as_slice(), second, self.0.get(path)?)))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&KeyPath, &Origin)> {
        self.0.iter()
    }

    /// The origin of exactly this path.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Origin> {
        let path: KeyPath = path.iter().map(|&key| key.to_owned()).collect();
        self.0.get(&path)
    }
}

struct Walk<'t> {
    file: &'t Path,
    text: &'t str,
    path: KeyPath,
    found: BTreeMap<KeyPath, Origin>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            self.enter(key.get_ref().to_string(), key.span().start, value.get_ref());
        }
    }

    fn enter(&mut self, segment: String, offset: usize, value: &DeValue<'_>) {
        self.path.push(segment);
        let origin = Origin { file: self.file.to_owned(), line: line(self.text, offset) };
        self.found.insert(self.path.clone(), origin);
        match value {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(array) => {
                for (at, element) in array.iter().enumerate() {
                    self.enter(index(at), element.span().start, element.get_ref());
                }
            }
            _ => {}
        }
        self.path.pop();
    }
}

/// The line of a byte offset, from 1.
pub(super) fn line(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// The path segment of an element of an array.
pub(super) fn index(at: usize) -> String {
    format!("[{at}]")
}

/// The path as TOML writes it: `target."vm.1".path`, `listen[0].address`.
pub(super) fn dotted<S: Borrow<str>>(path: &[S]) -> String {
    let mut text = String::new();
    for segment in path {
        let segment = segment.borrow();
        let is_index =
            segment.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(is_number);
        if !text.is_empty() && !is_index {
            text.push('.');
        }
        if is_index || is_bare(segment) {
            text.push_str(segment);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "{segment:?}");
        }
    }
    text
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the key needs no quotes in TOML.
fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}
