//! Sets the version that the programs print: that of Cargo.toml and, if it is known, the commit.
//!
//! The commit is `STREAM_COMMIT`, or what `git archive` wrote into packaging/commit, or in an optimised build the one
//! that git has. A development build has none, because it would be compiled again after each commit.

use std::path::Path;
use std::process::Command;

/// The length of the commit's name, which does not depend on the other commits of the repository.
const SHOWN: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../packaging/commit");
    println!("cargo:rerun-if-env-changed=STREAM_COMMIT");
    let version = variable("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = variable("STREAM_COMMIT").or_else(archived).or_else(checked_out);
    let version = match commit.as_deref().and_then(|commit| commit.get(..SHOWN.min(commit.len()))) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo:rustc-env=STREAM_VERSION={version}");
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// In a source package `git archive` has replaced the placeholder (gitattributes(5), export-subst).
fn archived() -> Option<String> {
    let text = std::fs::read_to_string("../../packaging/commit").ok()?;
    let commit = text.lines().next().unwrap_or_default();
    let is_commit = commit.len() >= SHOWN && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| commit.to_owned())
}

fn checked_out() -> Option<String> {
    // A .git elsewhere would be that of another repository around this source.
    if variable("PROFILE")? != "release" || !Path::new("../../.git").exists() {
        return None;
    }
    // This file changes with each commit and each checkout.
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
