//! The tables of `docs/protocol.md`, held against the code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use stream::protocol::command::Code;
use stream::protocol::end::End;

fn table_rows(first_header: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md")).unwrap();
    let mut lines = text.lines().skip_while(|line| *line != first_header);
    assert!(lines.next().is_some(), "no table `{first_header}`");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    rows.map(cells).collect()
}

#[test]
fn close_codes_are_as_documented() {
    let documented = table_rows("| code | label | meaning |");
    let coded: Vec<Vec<String>> = End::ALL
        .iter()
        .map(|end| vec![end.code().to_string(), end.label().to_owned(), end.reason().to_owned()])
        .collect();
    assert_eq!(documented, coded);
}

#[test]
fn every_end_has_a_code_and_a_label_of_its_own() {
    for end in End::ALL {
        assert_eq!(End::from_code(end.code()), Some(end));
        assert_eq!(End::ALL.iter().filter(|other| other.label() == end.label()).count(), 1, "{end:?}");
    }
}

#[test]
fn refusal_codes_are_as_documented() {
    let documented: Vec<String> =
        table_rows("| code | meaning |").into_iter().map(|row| row[0].clone()).collect();
    assert!(documented.len() > 20);
    for label in &documented {
        let code: Code =
            serde_json::from_value(serde_json::json!(label)).unwrap_or_else(|_| panic!("no code {label}"));
        assert_eq!(code.label(), label);
    }
    // Every variant that the source names is in the table.
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/protocol/command.rs")).unwrap();
    let labels = source.lines().filter_map(|line| line.trim().strip_prefix("Code::")?.split_once("=> \""));
    let coded: Vec<&str> = labels.map(|(_, rest)| rest.trim_end_matches("\",")).collect();
    assert_eq!(documented, coded);
}

/// The example with every key that is commented out in it.
fn with_every_key(example: &str) -> toml::Table {
    let is_key = |rest: &str| {
        rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_key(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    toml::from_str(&example.lines().map(line).collect::<String>()).unwrap()
}

#[test]
fn every_key_of_the_shipped_relay_file_is_known_with_its_default() {
    use stream::{platform, relay};
    let every = with_every_key(relay::config::EXAMPLE);
    let limits = every["limits"].clone();
    let raw: relay::config::Raw<platform::config::Raw> = toml::Value::Table(every).try_into().unwrap();
    assert!(raw.platform.is_some());
    let only_limits = toml::Table::from_iter([("limits".to_owned(), limits)]);
    let stated: relay::config::Raw<platform::config::Raw> =
        toml::Value::Table(only_limits).try_into().unwrap();
    let default = relay::config::Raw::<platform::config::Raw>::default();
    assert_eq!(format!("{stated:?}"), format!("{default:?}"));
}
