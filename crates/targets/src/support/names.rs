//! Names that an owner allows, as globs. A grant picks one of them.

use std::fmt;

use glob::{MatchOptions, Pattern};
use serde::Deserialize;

use crate::support::params::{Param, ParamError, Params};

/// `*` must not match a leading dot by accident.
pub(crate) const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Globs for the allowed names; at least one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct Names(Vec<Pattern>);

impl TryFrom<Vec<String>> for Names {
    type Error = String;

    fn try_from(globs: Vec<String>) -> Result<Names, String> {
        if globs.is_empty() {
            return Err("is empty: name what may be opened, or \"*\"".to_owned());
        }
        let patterns = globs.iter().map(|glob| match Pattern::new(glob) {
            Ok(_) if glob.is_empty() => Err("has an empty name in it".to_owned()),
            Ok(pattern) => Ok(pattern),
            Err(error) => Err(format!("\"{glob}\": {}", error.msg)),
        });
        patterns.collect::<Result<_, _>>().map(Names)
    }
}

impl Names {
    pub(crate) fn all() -> Names {
        Names(Pattern::new("*").into_iter().collect())
    }

    pub(crate) fn allow(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches_with(name, OPTIONS))
    }

    /// The only allowed name, if no glob leaves a choice.
    pub(crate) fn only(&self) -> Option<&str> {
        match &self.0[..] {
            [one] if Pattern::escape(one.as_str()) == one.as_str() => Some(one.as_str()),
            _ => None,
        }
    }

    /// Whether every name is allowed.
    pub(crate) fn are_all(&self) -> bool {
        self.0.iter().any(|pattern| pattern.as_str() == "*")
    }

    pub(crate) fn globs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Pattern::as_str)
    }

    /// Whether all are plain names.
    pub(crate) fn are_plain(&self) -> bool {
        self.globs().all(|glob| Pattern::escape(glob) == glob)
    }

    /// The name that the grant's parameter `param` picks. It may be missing if only one name is allowed.
    pub(crate) fn pick(&self, param: &str, params: &mut Params<'_>) -> Result<String, ParamError> {
        self.pick_as(param, params, is_name)
    }

    /// The same for names with other characters.
    pub(crate) fn pick_as(
        &self,
        param: &str,
        params: &mut Params<'_>,
        is_name: fn(&str) -> Result<(), &'static str>,
    ) -> Result<String, ParamError> {
        let Some(name) = params.take(param)? else {
            let only = self.only().map(str::to_owned);
            return only.ok_or_else(|| ParamError::new(param, "is missing: it says which one"));
        };
        is_name(name).map_err(|rule| ParamError::new(param, rule))?;
        match self.allow(name) {
            true => Ok(name.to_owned()),
            false => Err(ParamError::new(param, "is not among the names that the host's owner allows")),
        }
    }

    /// The parameters that [`Names::pick`] takes, for listings.
    pub(crate) fn wants(&self, param: &'static str) -> Vec<Param> {
        if self.only().is_some() {
            return vec![];
        }
        let choices = self.are_plain().then(|| self.globs().map(str::to_owned).collect());
        vec![Param { name: param.to_owned(), choices }]
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.globs().collect::<Vec<_>>().join(", "))
    }
}

/// Refuses names that a program could take for an option, a path or a pattern.
fn is_name(name: &str) -> Result<(), &'static str> {
    match is_word(name, b".@:+-") {
        true => Ok(()),
        false => Err("is not a name: letters, digits and _ . @ : + - are, the first a letter, a digit or _"),
    }
}

/// Whether a name consists of letters, digits, `_` and the characters in `more`, and does not begin with one of the
/// latter.
pub(crate) fn is_word(name: &str, more: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = name.bytes();
    bytes.next().is_some_and(is_letter) && bytes.all(|byte| is_letter(byte) || more.contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn names(globs: &[&str]) -> Names {
        globs.iter().map(ToString::to_string).collect::<Vec<_>>().try_into().unwrap()
    }

    fn pick(names: &Names, name: Option<&str>) -> Result<String, String> {
        let given: BTreeMap<_, _> = name.map(|name| ("vm".to_owned(), name.to_owned())).into_iter().collect();
        names.pick("vm", &mut Params::new(&given)).map_err(|error| error.rule)
    }

    #[test]
    fn only_what_a_glob_allows_can_be_picked() {
        let web = names(&["web-*", "db1"]);
        assert_eq!(pick(&web, Some("web-1")).unwrap(), "web-1");
        assert_eq!(pick(&web, Some("db1")).unwrap(), "db1");
        for name in ["db12", "web", "Web-1", "xweb-1"] {
            assert!(pick(&web, Some(name)).unwrap_err().contains("not among"), "{name}");
        }
        assert!(pick(&web, None).unwrap_err().contains("missing"));
        let all = names(&["*"]);
        for name in ["", "a/b", "..", ".a", "a b", "$(id)", "*", "a\\b", "a,b", "@a"] {
            assert!(pick(&all, Some(name)).unwrap_err().contains("not a name"), "{name}");
        }
        assert!(pick(&all, Some("-a")).unwrap_err().contains("dash"));
    }

    #[test]
    fn a_single_plain_name_need_not_be_picked() {
        assert_eq!(pick(&names(&["web-1"]), None).unwrap(), "web-1");
        assert!(pick(&names(&["web-1"]), Some("web-2")).is_err());
        assert_eq!(names(&["web-1"]).wants("vm"), []);
        let param = |choices| [Param { name: "vm".into(), choices }];
        assert_eq!(names(&["web-?"]).wants("vm"), param(None));
        let both = Some(vec!["web-1".to_owned(), "db1".to_owned()]);
        assert_eq!(names(&["web-1", "db1"]).wants("vm"), param(both));
    }

    #[test]
    fn a_broken_list_is_told() {
        assert!(Names::try_from(vec![]).unwrap_err().contains("empty"));
        assert!(Names::try_from(vec![String::new()]).unwrap_err().contains("empty name"));
        assert!(Names::try_from(vec!["a[".to_owned()]).unwrap_err().contains("\"a[\""));
    }
}
