//! Whatever a grant says, a value that is taken is what its owner's rule describes, and no more.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::Target;

/// A word that a careless owner would allow anything for, and one with a narrow pattern.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let table = "kind = 'exec'\nargv = ['/bin/true', '{any}', '--unit={unit}']\n\
                 params.any = { pattern = '(?s).*', default = 'x' }\n\
                 params.unit = { pattern = '[a-z]+(@[0-9]{1,3})?|a|', max_bytes = 40, default = 'a' }";
    Target::from_table("fuzzed", table.parse().expect("TOML")).expect("a target")
});

/// A name that globs allow, and that becomes part of an address.
static NAMED: LazyLock<Target> = LazyLock::new(|| {
    let table = "kind = 'container'\nengine = 'docker'\naction = 'attach'\ncontainers = ['web-*', 'db?']";
    Target::from_table("fuzzed", table.parse().expect("TOML")).expect("a target")
});

/// The globs above, by hand.
fn is_named(value: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@:+-".contains(&byte);
    let is_allowed = value.starts_with("web-") || value.len() == 3 && value.starts_with("db");
    is_harmless(value) && value.bytes().all(is_safe) && is_allowed
}

fn is_harmless(value: &str) -> bool {
    value.len() <= 256 && !value.starts_with('-') && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// The pattern above, by hand.
fn is_unit(value: &str) -> bool {
    let (name, number) = match value.split_once('@') {
        Some((name, number)) => (name, Some(number)),
        None => (value, None),
    };
    let is_number =
        |number: &str| (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    value.is_empty() || value.len() <= 40 && is_name && number.is_none_or(is_number)
}

type Given = (Option<String>, Option<String>, Option<(String, String)>);

fuzz_target!(|given: Given| {
    let (any, unit, other) = given;
    if let Some(name) = &any {
        let picked = BTreeMap::from([("container".to_owned(), name.clone())]);
        assert_eq!(NAMED.bind(&picked).is_ok(), is_named(name), "{name:?}");
    }
    let named = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
    let given: BTreeMap<String, String> =
        other.into_iter().chain(named("any", any)).chain(named("unit", unit)).collect();
    let mut expected = given.keys().all(|name| name == "any" || name == "unit");
    expected &= given.values().all(|value| is_harmless(value));
    expected &= given.get("unit").is_none_or(|value| is_unit(value));
    assert_eq!(TARGET.bind(&given).is_ok(), expected, "{given:?}");
});
