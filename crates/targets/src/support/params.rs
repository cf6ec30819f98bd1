//! Parameters from a grant, which fill the places that a target's owner left open. Each is checked by one rule, and a
//! parameter without a rule is refused.

use std::collections::BTreeMap;

use regex::bytes::Regex;
use serde::Deserialize;
use thiserror::Error;

use super::pattern::{PatternError, compile};
use crate::support::value::TargetConfigError;

/// The longest value in bytes if its rule does not set a lower limit.
const MAX_BYTES: usize = 256;

/// Bytes that a compiled pattern of an owner may take; useful ones are far below.
const MAX_PATTERN: usize = 1 << 24;

/// The parameters of one grant.
pub(crate) struct Params<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Params<'a> {
    pub(crate) fn new(given: &'a BTreeMap<String, String>) -> Params<'a> {
        Params(given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }

    /// Takes the parameter `name` if it was given and is harmless for programs in general. Callers must still check it
    /// against the owner's rule.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<&'a str>, ParamError> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        check_word(value).map_err(|rule| ParamError::new(name, rule))?;
        Ok(Some(value))
    }

    /// Whether the parameter was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Refuses parameters that were not taken.
    pub(crate) fn finish(self) -> Result<(), ParamError> {
        match self.0.keys().next() {
            Some(name) => Err(ParamError::new(name, "is not a parameter of this target")),
            None => Ok(()),
        }
    }
}

/// A parameter that a target takes, as listings show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    pub name: String,
    /// All allowed values, if the owner listed them.
    pub choices: Option<Vec<String>>,
}

/// The rules for every value, in addition to the owner's pattern.
fn check_word(value: &str) -> Result<(), String> {
    let rule = match value.as_bytes() {
        long if long.len() > MAX_BYTES => return Err(too_long(MAX_BYTES)),
        [b'-', ..] => "begins with a dash, which a program would take for an option",
        bytes if bytes.contains(&0) => "has a NUL character in it",
        bytes if bytes.iter().any(u8::is_ascii_control) => "has a control character in it",
        bytes if !bytes.is_ascii() => "has a character in it that is not ASCII",
        _ => return Ok(()),
    };
    Err(rule.to_owned())
}

fn too_long(most: usize) -> String {
    format!("is longer than {most} bytes")
}

/// Why a parameter was refused: the rule, and never the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("parameter `{}` {rule}", shown(.name))]
pub struct ParamError {
    pub name: String,
    /// The rule that it broke, worded to follow the name.
    pub rule: String,
}

impl ParamError {
    pub(crate) fn new(name: &str, rule: impl Into<String>) -> ParamError {
        ParamError { name: name.to_owned(), rule: rule.into() }
    }
}

/// The name comes from the client, so it is cut and escaped.
fn shown(name: &str) -> String {
    name.chars().take(64).collect::<String>().escape_default().to_string()
}

/// The owner's rule as written: `params.unit = { pattern = "[a-z]+" }`, or `{ values = ["ssh", "cron"] }`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRule {
    pattern: Option<String>,
    values: Option<Vec<String>>,
    default: Option<String>,
    max_bytes: Option<usize>,
}

/// The owner's rule for one parameter.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    allowed: Allowed,
    default: Option<String>,
    max_bytes: usize,
}

/// The values that a rule allows.
#[derive(Clone, Debug)]
enum Allowed {
    Pattern(Regex),
    Values(Vec<String>),
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        let same = match (&self.allowed, &other.allowed) {
            (Allowed::Pattern(one), Allowed::Pattern(other)) => one.as_str() == other.as_str(),
            (Allowed::Values(one), Allowed::Values(other)) => one == other,
            _ => false,
        };
        same && (&self.default, self.max_bytes) == (&other.default, other.max_bytes)
    }
}

impl Rule {
    pub(crate) fn check(key: &str, raw: RawRule) -> Result<Rule, TargetConfigError> {
        let wrong = |message: String| TargetConfigError::at(key, message);
        let max_bytes = raw.max_bytes.unwrap_or(MAX_BYTES);
        if !(1..=MAX_BYTES).contains(&max_bytes) {
            return Err(wrong(format!("max_bytes must be from 1 to {MAX_BYTES}")));
        }
        let allowed = match (raw.pattern, raw.values) {
            (Some(pattern), None) => {
                Allowed::Pattern(anchored(&pattern).map_err(|error| wrong(format!("pattern: {error}")))?)
            }
            (None, Some(values)) => Allowed::Values(check_values(values).map_err(wrong)?),
            (None, None) => return Err(wrong("needs `pattern`, or `values` with all allowed values".into())),
            (Some(_), Some(_)) => return Err(wrong("has `pattern` and `values`: write one of them".into())),
        };
        let rule = Rule { allowed, default: raw.default, max_bytes };
        if let Some(default) = &rule.default {
            check_word(default)
                .and_then(|()| rule.matches(default))
                .map_err(|why| wrong(format!("the default {why}")))?;
        }
        Ok(rule)
    }

    /// The value for `name`, which the owner's rule allows.
    pub(crate) fn take(&self, name: &str, params: &mut Params<'_>) -> Result<String, ParamError> {
        let value = match params.take(name)? {
            Some(value) => value,
            None => self.default.as_deref().ok_or_else(|| ParamError::new(name, "is missing"))?,
        };
        self.matches(value).map_err(|rule| ParamError::new(name, rule))?;
        Ok(value.to_owned())
    }

    fn matches(&self, value: &str) -> Result<(), String> {
        if value.len() > self.max_bytes {
            return Err(too_long(self.max_bytes));
        }
        match &self.allowed {
            Allowed::Pattern(pattern) if pattern.is_match(value.as_bytes()) => Ok(()),
            Allowed::Pattern(_) => Err("does not match the pattern of the host's owner".to_owned()),
            Allowed::Values(values) if values.iter().any(|allowed| allowed == value) => Ok(()),
            Allowed::Values(_) => Err("is not among the values that the host's owner allows".to_owned()),
        }
    }

    /// The parameter with this name and rule, for listings.
    pub(crate) fn param(&self, name: &str) -> Param {
        let choices = match &self.allowed {
            Allowed::Pattern(_) => None,
            Allowed::Values(values) => Some(values.clone()),
        };
        Param { name: name.to_owned(), choices }
    }
}

/// The pattern for a whole value, because a partial match would admit options.
fn anchored(pattern: &str) -> Result<Regex, PatternError> {
    // Compiled alone first, so that a surplus `)` is an error and does not close the group below.
    build(pattern)?;
    build(&format!(r"\A(?:{pattern})\z"))
}

fn check_values(values: Vec<String>) -> Result<Vec<String>, String> {
    if values.is_empty() {
        return Err("values is empty: list what is allowed".into());
    }
    for (at, value) in values.iter().enumerate() {
        check_word(value).map_err(|why| format!("values: \"{}\" {why}", value.escape_debug()))?;
        if values[..at].contains(value) {
            return Err(format!("values: lists \"{value}\" twice"));
        }
    }
    Ok(values)
}

fn build(pattern: &str) -> Result<Regex, PatternError> {
    compile(pattern, MAX_PATTERN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str) -> Rule {
        let raw = RawRule { pattern: Some(pattern.to_owned()), ..RawRule::default() };
        Rule::check("params", raw).unwrap()
    }

    fn take(rule: &Rule, value: &str) -> Result<String, String> {
        let given = BTreeMap::from([("p".to_owned(), value.to_owned())]);
        rule.take("p", &mut Params::new(&given)).map_err(|error| error.to_string())
    }

    /// Everything that was ever used to turn an argument into an option, a command or a second
    /// line, each refused by the rule that is named.
    #[test]
    fn what_is_used_for_injection_is_refused_by_name() {
        let anything = rule("(?s).*");
        let word = rule("[a-z0-9@._-]+");
        let dash = "begins with a dash";
        let control = "control character";
        let long = "x".repeat(4096);
        let table = [
            ("-o", dash),
            ("--output=/etc/passwd", dash),
            ("-", dash),
            ("--", dash),
            ("-oProxyCommand=sh", dash),
            ("-\u{0}", dash),
            ("a\nb", control),
            ("a\n", control),
            ("\n-o", control),
            ("a\r\n", control),
            ("a\tb", control),
            ("\u{1b}[2J", control),
            ("\u{7f}", control),
            ("a\u{0}b", "NUL"),
            ("\u{0}", "NUL"),
            ("\u{2010}o", "not ASCII"),
            ("\u{ff0d}o", "not ASCII"),
            ("ä", "not ASCII"),
            ("a\u{202e}b", "not ASCII"),
            ("a\u{85}b", "not ASCII"),
            ("\u{2028}", "not ASCII"),
            ("\u{feff}-o", "not ASCII"),
            (&long, "longer than 256 bytes"),
        ];
        for (value, why) in table {
            for rule in [&anything, &word] {
                let refused = take(rule, value).unwrap_err();
                assert!(refused.contains(why), "{value:?}: {refused}");
                assert!(!refused.contains(value) || value.len() < 3, "{value:?} is repeated: {refused}");
            }
        }
        let pattern = "does not match the pattern";
        let shell = [
            "$(id)",
            "`id`",
            "a;id",
            "a|id",
            "a&id",
            "a b",
            "'",
            "\"",
            "\\",
            "*",
            "?",
            "~",
            "{a,b}",
            "${IFS}",
            "a>b",
            "<a",
            "%n",
            "../../etc/passwd",
            "/etc/passwd",
            "a=b",
            "!1",
            "#",
            "",
            " ",
            " -o",
            "a,b",
        ];
        for value in shell {
            assert!(take(&word, value).unwrap_err().contains(pattern), "{value:?}");
        }
        assert_eq!(take(&word, "nginx@1.service").unwrap(), "nginx@1.service");
    }

    #[test]
    fn a_pattern_holds_for_the_whole_value() {
        assert!(take(&rule("a|b"), "ab").is_err());
        assert!(take(&rule("a|b"), "bc").is_err());
        assert!(take(&rule("(?m)^a$"), "a").is_ok());
        assert!(take(&rule(r"\w+"), "é").is_err());
        for broken in ["a)", "(a", ")(", "[", "a)|(b", r"\pL", "a{1000000}"] {
            let raw = RawRule { pattern: Some(broken.into()), ..RawRule::default() };
            let error = Rule::check("params", raw).unwrap_err();
            assert!(error.message.starts_with("pattern: "), "{broken}: {error}");
        }
    }

    #[test]
    fn defaults_and_limits_are_checked_when_they_are_read() {
        let raw = |default: &str, max| RawRule {
            pattern: Some("[a-z]*".into()),
            default: Some(default.into()),
            max_bytes: Some(max),
            ..RawRule::default()
        };
        let none = BTreeMap::new();
        let rule = Rule::check("params", raw("abc", 3)).unwrap();
        assert_eq!(rule.take("p", &mut Params::new(&none)).unwrap(), "abc");
        assert_eq!(take(&rule, "abcd").unwrap_err(), "parameter `p` is longer than 3 bytes");
        for (default, max, why) in
            [("A", 3, "pattern"), ("abcd", 3, "longer"), ("-a", 3, "dash"), ("a", 0, "1 to")]
        {
            let error = Rule::check("params", raw(default, max)).unwrap_err();
            assert!(error.message.contains(why), "{default}: {error}");
        }
    }

    #[test]
    fn listed_values_are_all_that_is_allowed_and_all_that_is_shown() {
        let listed = |values: &[&str], pattern: Option<&str>| RawRule {
            pattern: pattern.map(str::to_owned),
            values: Some(values.iter().map(ToString::to_string).collect()),
            ..RawRule::default()
        };
        let rule = Rule::check("params", listed(&["ssh", "cron"], None)).unwrap();
        assert_eq!(take(&rule, "cron").unwrap(), "cron");
        assert!(take(&rule, "cro").unwrap_err().contains("not among the values"));
        let choices = Some(vec!["ssh".to_owned(), "cron".to_owned()]);
        assert_eq!(rule.param("unit"), Param { name: "unit".into(), choices });
        assert_eq!(self::rule("a|b").param("unit").choices, None);
        for (values, pattern, why) in [
            (&[][..], None, "is empty"),
            (&["a", "a"], None, "twice"),
            (&["-a"], None, "dash"),
            (&["a"], Some("a"), "one of them"),
        ] {
            let error = Rule::check("params", listed(values, pattern)).unwrap_err();
            assert!(error.message.contains(why), "{values:?}: {error}");
        }
        let error = Rule::check("params", RawRule::default()).unwrap_err();
        assert!(error.message.contains("needs `pattern`"), "{error}");
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let given = BTreeMap::from([("a\u{1b}[2J".to_owned(), "1".to_owned())]);
        let error = Params::new(&given).finish().unwrap_err().to_string();
        assert_eq!(error, r"parameter `a\u{1b}[2J` is not a parameter of this target");
    }
}
