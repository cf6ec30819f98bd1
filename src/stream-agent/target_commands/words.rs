//! A target's table as words of a command line: `KEY=VALUE`.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use targets::Target;
use toml::{Table, Value};

/// The keys that have a place of their own in the command line.
const PLACED: [&str; 2] = ["kind", "title"];

/// The table of a target. A value that is no TOML is a text. If the kind wants a text or a list there, a value is read as
/// one, so that `units=ssh.service` and `user=1000` mean what they say.
pub(super) fn read(name: &str, kind: &str, title: Option<&str>, words: &[String]) -> Result<Table> {
    let mut table = Table::from_iter([("kind".to_owned(), Value::from(kind))]);
    table.extend(title.map(|title| ("title".to_owned(), Value::from(title))));
    let mut texts = BTreeMap::new();
    for word in words {
        let (key, text) = word
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| anyhow!("\"{word}\" is not KEY=VALUE, such as path=/var/log/syslog"))?;
        if PLACED.contains(&key) {
            bail!("`{key}` is no key here: write `target add NAME KIND [KEY=VALUE...] [--title TEXT]`");
        }
        let value = text.parse().or_else(|error: toml::de::Error| match text.starts_with(['[', '{', '"', '\'']) {
            // As a text it would mean something else, as the glob [web1] does.
            true => Err(anyhow!(
                "`{key}`: {text} is not TOML ({}): write '{key}=[\"a\", \"b\"]', with quotation marks for the shell around it",
                error.message()
            )),
            false => Ok(Value::from(text)),
        })?;
        if texts.insert(key, text).is_some() {
            bail!("`{key}` is given twice");
        }
        table.insert(key.to_owned(), value);
    }
    // Which key the kind refuses, if its value is the reason.
    let refused = |table: &Table| Target::from_table(name, table.clone()).err().and_then(|error| error.key);
    while let Some(key) = refused(&table) {
        // Not a second time for the same key.
        let Some(text) = texts.remove(key.as_str()) else { break };
        let other = [Value::from(text), Value::from(vec![text])].into_iter().find_map(|value| {
            let mut table = table.clone();
            table.insert(key.clone(), value);
            (refused(&table).as_ref() != Some(&key)).then_some(table)
        });
        let Some(other) = other else { break };
        table = other;
    }
    Ok(table)
}

/// The words that [`read`] makes this table from, quoted for a shell.
pub(super) fn write(table: &Table) -> Vec<String> {
    let words = table.iter().filter(|(key, _)| !PLACED.contains(&key.as_str()));
    words.map(|(key, value)| quoted(&format!("{key}={}", text(value)))).collect()
}

/// The shortest text for a value.
fn text(value: &Value) -> String {
    let bare = match value {
        Value::String(text) => Some(text),
        // The kind wants a list there, so one value is one.
        Value::Array(list) if list.len() == 1 => match &list[0] {
            Value::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    let is_bare = |text: &&String| {
        !text.is_empty() && text.parse::<Value>().is_err() && !text.starts_with(['[', '{', '"', '\''])
    };
    bare.filter(is_bare).cloned().unwrap_or_else(|| value.to_string())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    match word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(kind: &str, words: &[&str]) -> Result<Table, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        read("web", kind, None, &words).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_toml_or_what_the_kind_wants() {
        for (kind, words, expected) in [
            ("file", &["path=/var/log/syslog", "lines=5"][..], "path = '/var/log/syslog'\nlines = 5"),
            ("journal", &["units=ssh.service", "since=1h"], "units = ['ssh.service']\nsince = '1h'"),
            ("journal", &["units=[\"a\", \"b\"]"], "units = ['a', 'b']"),
            (
                "exec",
                &["argv=/bin/login", "pty=true", "user=1000"],
                "argv = ['/bin/login']\npty = true\nuser = '1000'",
            ),
            (
                "container",
                &["engine=docker", "action=logs", "containers=123"],
                "engine = 'docker'\naction = 'logs'\ncontainers = ['123']",
            ),
            // A wrong value stays as it was written, for the error.
            ("file", &["path=var/log"], "path = 'var/log'"),
            ("file", &["pth=/a", "lines=x"], "pth = '/a'\nlines = 'x'"),
        ] {
            let mut expected: Table = expected.parse().unwrap();
            expected.insert("kind".into(), kind.into());
            assert_eq!(table(kind, words), Ok(expected), "{words:?}");
        }
    }

    #[test]
    fn what_is_not_a_setting_is_refused() {
        for (words, why) in [
            (&["path"][..], "\"path\" is not KEY=VALUE"),
            (&["=a"], "is not KEY=VALUE"),
            (&["path=/a", "path=/b"], "`path` is given twice"),
            (&["kind=file"], "`kind` is no key here"),
            (&["title=a"], "--title"),
            (&["domains=[web1]"], "[web1] is not TOML"),
            (&["lines=\"5"], "is not TOML"),
        ] {
            let error = table("file", words).unwrap_err();
            assert!(error.contains(why), "{words:?}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (kind, text, words) in [
            ("file", "path = '/var/log/a b.log'\nlines = 5", "lines=5 'path=/var/log/a b.log'"),
            ("journal", "units = ['ssh.service']", "units=ssh.service"),
            ("journal", "units = ['a', 'b']", "'units=[\"a\", \"b\"]'"),
            (
                "exec",
                "argv = ['/bin/sh', '-c', \"echo it's\"]",
                "'argv=[\"/bin/sh\", \"-c\", \"echo it'\\''s\"]'",
            ),
            (
                "container",
                "engine = 'docker'\naction = 'logs'\ncontainers = ['123']",
                "action=logs 'containers=[\"123\"]' engine=docker",
            ),
            ("machine", "machines = ['[[]a']", "'machines=[\"[[]a\"]'"),
        ] {
            let mut table: Table = text.parse().unwrap();
            table.insert("kind".into(), kind.into());
            let line = write(&table).join(" ");
            assert_eq!(line, words);
            let echo = std::process::Command::new("sh")
                .args(["-c", &format!("printf '%s\\0' {line}")])
                .output()
                .unwrap();
            let typed = String::from_utf8(echo.stdout).unwrap();
            let typed: Vec<String> = typed.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
            assert_eq!(read("web", kind, None, &typed).unwrap(), table, "{line}");
        }
    }
}
