//! The program as a user starts it, without a configuration. That cargo builds it for this test is why
//! `cargo test` leaves it where the end-to-end tests look for it.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

fn relay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stream-relay")).args(arguments).output().expect("the program starts")
}

#[test]
fn it_prints_its_name_and_version() {
    let output = relay(&["--version"]);
    let expected = format!("stream-relay {}", env!("CARGO_PKG_VERSION"));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(&expected), "{output:?}");
}

#[test]
fn unknown_arguments_are_a_usage_error() {
    let output = relay(&["sreve"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("sreve"), "{output:?}");
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let output = relay(&["--config", "/nonexistent/config.toml", "check-config"]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/config.toml"), "{output:?}");
}
