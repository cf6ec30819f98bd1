//! Compares the tables of `docs/protocol.md` with the code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::audit::{Context, Event, Record};
use protocol::command::{Code, TargetInfo};
use protocol::control::{FromClient, FromHost, ToClient};
use protocol::end::{End, Outcome};
use protocol::mode::Mode;
use protocol::token::TokenHash;
use protocol::view::View;
use serde_json::Value;

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
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/crates/protocol/src/command.rs"))
            .unwrap();
    let labels = source.lines().filter_map(|line| line.trim().strip_prefix("Code::")?.split_once("=> \""));
    let coded: Vec<&str> = labels.map(|(_, rest)| rest.trim_end_matches("\",")).collect();
    assert_eq!(documented, coded);
}

/// The variants of an enum as its source has them, in snake case; without `Unknown`.
fn variants(name: &str) -> Vec<String> {
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/crates/protocol/src/control.rs"))
            .unwrap();
    let body = source.split_once(&format!("pub enum {name} {{")).unwrap().1.split_once("\n}").unwrap().0;
    let names = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    let names = names.map(|line| line.trim_end_matches([' ', '{', ',']).to_lowercase());
    names.filter(|name| name != "unknown").collect()
}

#[test]
fn control_messages_are_as_documented() {
    let rows = table_rows("| from | message | meaning |");
    let of = |from: &str| -> Vec<Value> {
        let rows = rows.iter().filter(|row| row[0] == from);
        rows.map(|row| serde_json::from_str(&row[1]).unwrap()).collect()
    };
    let types = |messages: &[Value]| -> Vec<String> {
        messages.iter().map(|message| message["type"].as_str().unwrap().to_owned()).collect()
    };
    let (client, host, relay) = (of("client"), of("host"), of("relay"));
    assert_eq!(types(&relay), variants("ToClient"));
    assert_eq!(types(&client), variants("FromClient"));
    assert_eq!(types(&host), variants("FromHost"));
    // Each is what the code writes and reads.
    for message in client {
        let read: FromClient = serde_json::from_value(message.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), message);
    }
    for message in host {
        let read: FromHost = serde_json::from_value(message.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), message);
    }
    for message in relay {
        let read: ToClient = serde_json::from_value(message.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), message);
    }
    let signals = rows.iter().find(|row| row[1].contains("signal")).unwrap()[2].clone();
    assert_eq!(signals.split_once(": ").unwrap().1.to_lowercase(), variants("Signal").join(", "));
}

/// The names in the first column of a table.
fn documented_keys(first_header: &str) -> BTreeSet<String> {
    let rows = table_rows(first_header);
    rows.iter().flat_map(|row| row[0].split(", ")).map(str::to_owned).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn listed_targets_have_the_documented_keys() {
    // Every field by name here and below, so that a new one is not forgotten.
    let target = TargetInfo {
        name: "logs".into(),
        kind: "journal".into(),
        title: Some("Logs".into()),
        modes: vec![Mode::Ro],
        params: vec!["unit".into()],
        terminal: true,
        view: Some(View::Log),
        choices: [("unit".to_owned(), vec!["ssh.service".to_owned()])].into(),
    };
    let documented = documented_keys("| key of a target | meaning |");
    assert_eq!(documented, keys(&serde_json::to_value(&target).unwrap()));
    let least = TargetInfo {
        title: None,
        params: vec![],
        terminal: false,
        view: None,
        choices: BTreeMap::new(),
        ..target
    };
    let left_out = ["title", "params", "terminal", "view", "choices"].map(str::to_owned);
    let least = keys(&serde_json::to_value(&least).unwrap());
    assert_eq!(least, &documented - &left_out.into());
}

#[test]
fn records_have_the_documented_keys() {
    let context = Context {
        session: Some("s".into()),
        stream: Some(1),
        host: Some("h1".parse().unwrap()),
        target: Some("logs".into()),
        params: [("unit".to_owned(), "ssh.service".to_owned())].into(),
        user: Some("alice".into()),
        peer: Some("192.0.2.1".parse().unwrap()),
        token: Some(TokenHash::from_secret(b"a token")),
        mode: Some(Mode::Ro),
    };
    let outcome = Outcome { bytes_in: 0, bytes_out: 1, closing: End::TargetEnded.into() };
    let ended = Record::new(context, Event::Ended { outcome, lasted: Duration::from_secs(1) });
    assert_eq!(
        documented_keys("| key of a record | meaning |"),
        keys(&serde_json::to_value(&ended).unwrap())
    );
    let least = Record::new(Context::default(), Event::Started);
    let least = keys(&serde_json::to_value(least).unwrap());
    assert_eq!(least, ["v", "at", "event"].map(str::to_owned).into());
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
