//! Explains serde's errors about types: what a value must be, and how to write it.

/// What the value must be. `None` if serde's message is not about a type.
pub(super) fn explain_type(message: &str, key: &str) -> Option<String> {
    let rest = ["invalid type: ", "invalid value: "].iter().find_map(|kind| message.strip_prefix(kind))?;
    let (got, expected) = rest.rsplit_once(", expected ")?;
    let got = Got::read(got)?;
    Some(match expected {
        "a sequence" => list(&got, key),
        "a string" | "string only" => string(&got),
        "a boolean" => truth(&got),
        "a duration" => duration(&got),
        "a map" => format!("a table is needed, such as {{ NAME = \"value\" }}, and not {got}"),
        _ if expected.starts_with("struct ") && key.is_empty() => {
            format!("a table with keys is needed, such as {{ KEY = value }}, and not {got}")
        }
        _ if expected.starts_with("struct ") => {
            format!("a section is needed: write [{key}], and its keys below it")
        }
        _ => match max_of(expected) {
            Some(max) => number(&got, max),
            None => return None,
        },
    })
}

/// The value in the file.
enum Got<'m> {
    Text(&'m str),
    Integer(&'m str),
    Float(&'m str),
    Truth(&'m str),
    List,
    Table,
    /// The message does not have it.
    Unknown,
}

impl Got<'_> {
    fn read(text: &str) -> Option<Got<'_>> {
        let between =
            |kind: &str, mark: char| text.strip_prefix(kind)?.strip_prefix(mark)?.strip_suffix(mark);
        Some(match text {
            "sequence" => Got::List,
            "map" => Got::Table,
            "unit variant" => Got::Unknown,
            _ => between("string ", '"')
                .map(Got::Text)
                .or_else(|| between("integer ", '`').map(Got::Integer))
                .or_else(|| between("floating point ", '`').map(Got::Float))
                .or_else(|| between("boolean ", '`').map(Got::Truth))?,
        })
    }
}

impl std::fmt::Display for Got<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Got::Text(text) => write!(f, "\"{text}\""),
            Got::Integer(plain) | Got::Float(plain) | Got::Truth(plain) => f.write_str(plain),
            Got::List => f.write_str("a list"),
            Got::Table => f.write_str("a section or table"),
            Got::Unknown => f.write_str("another value"),
        }
    }
}

fn list(got: &Got<'_>, key: &str) -> String {
    match got {
        // Words as in a shell.
        Got::Text(text) if key.ends_with("argv") && text.contains(' ') => {
            let words: Vec<String> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
            format!("a list of words is needed: write [{}]", words.join(", "))
        }
        Got::Text(text) => format!("a list is needed: write [\"{text}\"]"),
        Got::Table if !key.is_empty() => {
            format!("several of these are possible: write [[{key}]], and not [{key}]")
        }
        got => format!("a list in brackets is needed, such as [\"first\", \"second\"], and not {got}"),
    }
}

fn string(got: &Got<'_>) -> String {
    match got {
        Got::Integer(number) | Got::Float(number) => format!("a string is needed: write \"{number}\""),
        Got::List => "one string is needed, and not a list: write it without brackets".into(),
        Got::Unknown => "a string is needed: write it in quotation marks".into(),
        got => format!("a string in quotation marks is needed, and not {got}"),
    }
}

fn truth(got: &Got<'_>) -> String {
    let word = match got {
        Got::Text(text) => text.to_ascii_lowercase(),
        got => got.to_string(),
    };
    match word.as_str() {
        "true" | "yes" | "on" | "1" => "true or false is needed: write true, without quotation marks".into(),
        "false" | "no" | "off" | "0" => {
            "true or false is needed: write false, without quotation marks".into()
        }
        _ => format!("true or false is needed, without quotation marks, and not {got}"),
    }
}

fn duration(got: &Got<'_>) -> String {
    match got {
        Got::Text(text) | Got::Integer(text) | Got::Float(text) if text.trim().starts_with('-') => {
            format!("a duration cannot be negative, as {got} is: write one such as \"10s\" or \"5m\"")
        }
        Got::Text(digits) | Got::Integer(digits) if is_number(digits) => {
            format!("a duration needs a unit: write \"{digits}s\" for seconds, or \"{digits}m\" for minutes")
        }
        got => format!("{got} is not a duration: write one such as \"10s\", \"5m\" or \"1h 30m\""),
    }
}

fn number(got: &Got<'_>, max: u64) -> String {
    match got {
        Got::Text(text) if text.parse().is_ok_and(|number: u64| number <= max) => {
            format!("a number is needed: write {text}, without quotation marks")
        }
        // The limit of TOML's numbers is not worth a mention.
        got if max > u64::from(u32::MAX) => format!("a whole number is needed, 0 or more, and not {got}"),
        got => format!("a whole number from 0 to {max} is needed, and not {got}"),
    }
}

fn max_of(expected: &str) -> Option<u64> {
    Some(match expected {
        "u8" | "a nonzero u8" => u8::MAX.into(),
        "u16" | "a nonzero u16" => u16::MAX.into(),
        "u32" | "a nonzero u32" => u32::MAX.into(),
        "u64" | "usize" | "a nonzero u64" | "a nonzero usize" => u64::MAX,
        _ => return None,
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_explained_with_how_to_write_it() {
        for (got, expected, text) in [
            ("string \"x\"", "a sequence", "a list is needed: write [\"x\"]"),
            (
                "integer `5`",
                "a sequence",
                "a list in brackets is needed, such as [\"first\", \"second\"], and not 5",
            ),
            ("map", "a sequence", "several of these are possible: write [[nats]], and not [nats]"),
            ("integer `5`", "a string", "a string is needed: write \"5\""),
            ("boolean `true`", "a string", "a string in quotation marks is needed, and not true"),
            ("sequence", "a string", "one string is needed, and not a list: write it without brackets"),
            ("unit variant", "string only", "a string is needed: write it in quotation marks"),
            ("string \"Yes\"", "a boolean", "true or false is needed: write true, without quotation marks"),
            ("integer `0`", "a boolean", "true or false is needed: write false, without quotation marks"),
            (
                "string \"maybe\"",
                "a boolean",
                "true or false is needed, without quotation marks, and not \"maybe\"",
            ),
            (
                "integer `10`",
                "a duration",
                "a duration needs a unit: write \"10s\" for seconds, or \"10m\" for minutes",
            ),
            (
                "string \"10\"",
                "a duration",
                "a duration needs a unit: write \"10s\" for seconds, or \"10m\" for minutes",
            ),
            (
                "string \"-1s\"",
                "a duration",
                "a duration cannot be negative, as \"-1s\" is: write one such as \"10s\" or \"5m\"",
            ),
            (
                "floating point `1.5`",
                "a duration",
                "1.5 is not a duration: write one such as \"10s\", \"5m\" or \"1h 30m\"",
            ),
            ("string \"64\"", "u32", "a number is needed: write 64, without quotation marks"),
            ("integer `-1`", "u16", "a whole number from 0 to 65535 is needed, and not -1"),
            ("string \"many\"", "usize", "a whole number is needed, 0 or more, and not \"many\""),
            ("string \"x\"", "struct RawNats", "a section is needed: write [nats], and its keys below it"),
            ("string \"A=b\"", "a map", "a table is needed, such as { NAME = \"value\" }, and not \"A=b\""),
        ] {
            let message = format!("invalid type: {got}, expected {expected}");
            assert_eq!(explain_type(&message, "nats").as_deref(), Some(text), "{message}");
        }
        assert_eq!(explain_type("something else, expected nothing", "x"), None);
        assert_eq!(explain_type("invalid type: sequence, expected a colour", "x"), None);
    }
}
