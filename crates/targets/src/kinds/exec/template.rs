//! An argument with places for parameters, such as `{name}`. It stays one argument, whatever fills it.

use std::collections::BTreeMap;

/// Text and places for parameters, in turn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Place(String),
}

impl Template {
    /// An argument in which braces are plain text.
    pub(super) fn plain(text: String) -> Template {
        Template(vec![Part::Text(text)])
    }

    /// Finds the places. Braces that do not enclose a name are plain text.
    pub(super) fn read(text: &str) -> Template {
        let mut parts = vec![];
        let mut rest = text;
        let mut plain = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            match after.split_once('}') {
                Some((name, behind)) if is_name(name) => {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Place(name.to_owned()));
                    rest = behind;
                }
                _ => {
                    plain.push('{');
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Template(parts)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Fills in the values. Loading the configuration has checked that each place has one.
    pub(super) fn fill(&self, values: &BTreeMap<&str, String>) -> String {
        let texts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Place(name) => values.get(name.as_str()).map_or("", String::as_str),
        });
        texts.collect()
    }
}

/// Whether this can name a parameter.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
