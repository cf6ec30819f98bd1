use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use super::*;
use protocol::signing::SigningKey;

/// Loads `toml` from a folder with one issuer's key.
fn loaded(toml: &str) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let issuers = dir.path().join("issuers.d");
    std::fs::create_dir(&issuers).unwrap();
    let (key, _) = SigningKey::generate("k1").unwrap();
    std::fs::write(issuers.join("k1.pub"), keys::public_pem(&key)).unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, toml.replace("/etc/stream-agent", dir.path().to_str().unwrap())).unwrap();
    load(&file, false).map(|(_, settings)| settings).map_err(|error| error.to_string())
}

const LEAST: &str = "host_id = 'h1'\n[nats]\nservers = ['nats://127.0.0.1:4222']\n[relay]\n\
                     allow = ['wss://relay.example.com/']\n[auth]\nissuers_dir = '/etc/stream-agent/issuers.d'\n";

#[test]
fn the_least_that_is_needed_is_enough() {
    let settings = loaded(LEAST).unwrap();
    assert_eq!(settings.relays, ["wss://relay.example.com"]);
    assert!(settings.targets.is_empty());
}

/// The text with every key that is commented out in it.
fn uncommented(text: &str) -> String {
    let line = |line: &str| {
        let key = line.strip_prefix('#').filter(|rest| {
            rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        });
        format!("{}\n", key.unwrap_or(line))
    };
    text.lines().map(line).collect()
}

/// The files of `targets.d` as they are shipped, by their names.
fn shipped_fragments() -> BTreeMap<String, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/agent/targets.d");
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(file.path()).unwrap())
        })
        .collect()
}

/// The tables of all examples in `targets.d`.
fn examples() -> Vec<(String, toml::Table)> {
    let mut examples = vec![];
    for text in shipped_fragments().values() {
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        let mut tables: toml::Table = toml::from_str(&uncommented(text)).unwrap();
        let toml::Value::Table(targets) = tables.remove("target").unwrap() else { panic!("{text}") };
        for (name, table) in targets {
            let toml::Value::Table(table) = table else { panic!("{name}") };
            examples.push((name, table));
        }
    }
    examples
}

/// The text that follows a heading of `docs/targets.md` that names this kind, up to the next.
fn sections_of(kind: &str, document: &str) -> String {
    let named = format!("`{kind}`");
    let sections = document.split("\n## ").filter(|section| section.lines().next().unwrap().contains(&named));
    sections.collect()
}

fn targets_document() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/targets.md")).unwrap()
}

#[test]
fn every_key_of_every_kind_is_documented() {
    let document = targets_document();
    for (kind, keys) in Target::kinds() {
        let sections = sections_of(kind, &document);
        // As `params.NAME` and `raw = true`, too.
        let is_named =
            |key: &str| ["`", ".", " ="].iter().any(|behind| sections.contains(&format!("`{key}{behind}")));
        let lacking: Vec<_> = keys.iter().filter(|key| !is_named(key)).collect();
        assert!(lacking.is_empty(), "docs/targets.md lacks {lacking:?} of {kind}");
    }
}

#[test]
fn what_kinds_are_by_default_is_documented() {
    let document = targets_document();
    let table =
        document.split_once("| kind | modes | streams at once | of one session | profile |\n").unwrap().1;
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let mut documented = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.replace('`', "")).collect();
        let [kinds, facts @ ..] = &cells[..] else { panic!("{row}") };
        let facts = facts.iter().map(|fact| fact.trim().to_owned()).collect::<Vec<_>>();
        documented.extend(kinds.split(',').map(|kind| (kind.trim().to_owned(), facts.clone())));
    }
    let mut coded = BTreeMap::new();
    let with_either_display = |(name, table): (String, toml::Table)| {
        let displays: &[&str] = if table.contains_key("display") { &["spice", "vnc"] } else { &[""] };
        let tables = displays.iter().map(|display| match *display {
            "" => table.clone(),
            display => [table.clone(), toml::toml! { display = display }].into_iter().flatten().collect(),
        });
        tables.map(|table| (name.clone(), table)).collect::<Vec<_>>()
    };
    for (name, mut table) in examples().into_iter().flat_map(with_either_display) {
        ["modes", "max_streams", "session_streams", "profile"]
            .iter()
            .for_each(|key| drop(table.remove(*key)));
        let target = Target::from_table(&name, table.clone()).unwrap();
        let default = target.modes[0].to_string();
        let mut modes = vec![default.clone()];
        for mode in ["rw", "ro"].into_iter().filter(|mode| *mode != default) {
            table.insert("modes".into(), vec![mode].into());
            if Target::from_table(&name, table.clone()).is_ok() {
                modes.push(mode.to_owned());
            }
        }
        let word = |key| table.get(key).and_then(toml::Value::as_str);
        let kind = match (target.kind_name(), word("action"), word("display")) {
            (kind, Some("logs"), _) => format!("{kind} for logs"),
            (kind, _, Some(display)) => format!("{kind} for {display}"),
            (kind, ..) => kind.to_owned(),
        };
        let profile = target.profile.label().to_owned();
        let streams = [target.max_streams, target.session_streams].map(|streams| streams.to_string());
        let [at_once, of_session] = streams;
        coded.insert(kind, vec![modes.join(", "), at_once, of_session, profile]);
    }
    assert_eq!(documented, coded);
}

#[test]
fn the_shipped_examples_show_every_key_of_every_kind() {
    let mut shown = BTreeMap::<String, BTreeSet<String>>::new();
    for (name, table) in examples() {
        let target = Target::from_table(&name, table.clone());
        let kind = target.unwrap_or_else(|error| panic!("{name}: {error}")).kind_name();
        shown.entry(kind.to_owned()).or_default().extend(table.keys().cloned());
    }
    for (kind, keys) in Target::kinds() {
        let lacking: Vec<_> = keys.iter().filter(|key| !shown[kind].contains(**key)).collect();
        assert!(lacking.is_empty(), "{kind} lacks {lacking:?}");
    }
}

#[test]
fn the_shipped_example_shows_every_key_with_its_default() {
    // Its three needs are examples; everything else in it is a default.
    let uncommented = uncommented(EXAMPLE);
    let only_one_login = |line: &&str| {
        ![
            "nkey_seed_file",
            "user",
            "password_file",
            "token_file",
            "key_file",
            "cert_file",
            "host_key_file",
            "ca_file",
        ]
        .iter()
        .any(|key| line.starts_with(&format!("{key} =")))
    };
    let text: String = uncommented.lines().filter(only_one_login).map(|line| format!("{line}\n")).collect();
    let settings = loaded(&text).unwrap();
    let least = loaded(LEAST).unwrap();
    assert_eq!(settings.targets.len(), 2);
    assert_eq!(format!("{:?}", settings.websocket), format!("{:?}", least.websocket));
    assert_eq!(settings.prefix, least.prefix);
    assert_eq!(
        (settings.streams, settings.unused, settings.session, settings.drain_timeout),
        (least.streams, least.unused, least.session, least.drain_timeout)
    );
    // And the keys that were left out above are known, too.
    let all: toml::Table = toml::from_str(&uncommented).unwrap();
    toml::Value::Table(all).try_into::<Raw>().unwrap();
}

#[test]
fn all_shipped_examples_can_be_used_together() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("targets.d")).unwrap();
    for (name, text) in shipped_fragments() {
        std::fs::write(dir.path().join("targets.d").join(name), uncommented(&text)).unwrap();
    }
    let targets = uncommented(EXAMPLE);
    let targets = &targets[targets.find("[target.").unwrap()..];
    let (key, _) = SigningKey::generate("k1").unwrap();
    std::fs::write(dir.path().join("k1.pub"), keys::public_pem(&key)).unwrap();
    let least = LEAST.replace("/etc/stream-agent/issuers.d", dir.path().to_str().unwrap());
    let file = dir.path().join("config.toml");
    std::fs::write(&file, least + targets).unwrap();
    let (_, settings) = load(&file, false).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.targets.len(), examples().len() + 2);
}

#[test]
fn the_example_as_shipped_says_what_is_missing() {
    assert!(loaded(EXAMPLE).unwrap_err().contains("`nats.servers`: is needed"));
}

#[test]
fn mistakes_name_the_file_the_line_and_the_remedy() {
    let cases = [
        ("[relay]\nalow = []", "did you mean `allow`"),
        ("[relay]\nallow = ['ws://relay.example.com']", "not encrypted"),
        ("[target.x]\nkind = 'tcp'\nadress = 'a:1'", "address"),
        ("[target.x]\nkind = 'file'\npath = 'x'", "not an absolute path"),
        ("[limits]\nstreams = 0", "at least 1"),
        ("[limits]\nunused = 0", "at least 1"),
        ("host_id = 'a.b'", "host id"),
    ];
    for (toml, expected) in cases {
        let nats = "[nats]\nservers = ['nats://127.0.0.1:4222']\n";
        let error = loaded(&format!("{toml}\n{nats}")).unwrap_err();
        assert!(error.contains(expected) && error.contains("config.toml:"), "{toml}: {error}");
    }
}

#[test]
fn a_network_half_reads_no_target_and_is_believed_only_if_the_owner_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (file, key) = (dir.path().join("config.toml"), dir.path().join("relay.key"));
    std::fs::create_dir(dir.path().join("targets.d")).unwrap();
    // Not even TOML, so reading it is an error.
    let targets = dir.path().join("targets.d/a.toml");
    std::fs::write(&targets, "no target").unwrap();
    std::fs::write(&key, "secret").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let simple = format!(
        "host_id = 'h1'\nnats.servers = ['nats://127.0.0.1:4222']\n[relay]\n\
         allow = ['ws://127.0.0.1']\nkey_file = '{}'\n[auth]\nmode = 'opaque'\n",
        key.display()
    );
    std::fs::write(&file, &simple).unwrap();
    let error = load_network_half(&file).unwrap_err();
    assert!(error.remedy.as_ref().unwrap().contains("trust_network_half = true"), "{error:?}");
    std::fs::write(&file, format!("{simple}[split]\ntrust_network_half = true\n")).unwrap();
    assert!(load_network_half(&file).unwrap().1.targets.is_empty());
    assert!(load_opener(&file).is_err());
    std::fs::write(&targets, "").unwrap();
    assert!(matches!(load_opener(&file).unwrap().authority, opener::Authority::NetworkHalf));
    std::fs::write(&file, &simple).unwrap();
    assert_eq!(load_opener(&file).unwrap_err(), error);
}
