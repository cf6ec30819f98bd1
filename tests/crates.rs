//! What each program is linked from. The manifests enforce which crate imports which; these tests check what a manifest
//! cannot express: which crates must not come in through another one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::process::Command;

/// The names of all crates that a package is linked from, on this platform.
fn linked_into(package: &str) -> BTreeSet<String> {
    tree(package, "{p}").lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// All crates that a package is linked from, a line for each.
fn tree(package: &str, format: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--format", format, "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn assert_without(package: &str, unwanted: &[&str]) {
    let linked = linked_into(package);
    let found: Vec<_> = unwanted.iter().filter(|name| linked.contains(**name)).collect();
    assert!(found.is_empty(), "{package} is linked from {found:?}");
    println!("{package} is linked from {} crates", linked.len());
}

/// The features that a crate has in a package.
fn features(package: &str, name: &str) -> String {
    let tree = tree(package, "{p} [{f}]");
    let line = tree.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("{package} is not linked from {name}")).to_owned()
}

#[test]
fn the_agent_holds_nothing_of_the_relay() {
    assert_without(
        "stream-agent",
        &["relay", "platform", "client", "axum", "tower", "h2", "rsa", "aws-lc-rs", "openssl"],
    );
    for name in ["hyper", "http1"] {
        let features = features("stream-agent", name);
        assert!(!features.contains("server"), "the agent serves no HTTP: {features}");
        assert!(self::features("stream-relay", name).contains("server"), "{name} has no such feature");
    }
}

#[test]
fn the_relay_holds_nothing_of_the_agent() {
    assert_without("stream-relay", &["agent", "targets", "h2", "aws-lc-rs", "openssl"]);
}

#[test]
fn the_part_between_hosts_and_clients_knows_neither_nats_nor_targets() {
    // It shares `service` with those who do, so the manifest has to be asked.
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/relay/Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    for name in ["async-nats", "targets", "agent", "platform"] {
        assert!(!dependencies.contains_key(name), "the relay depends on {name}");
    }
}

#[test]
fn words_need_no_runtime() {
    assert_without("protocol", &["tokio", "hyper", "async-nats", "nix"]);
}
