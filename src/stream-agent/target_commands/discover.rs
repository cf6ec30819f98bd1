//! `target discover`: what this host has, and the command that makes each a target.

use std::path::Path;

use agent::config::read;
use anyhow::Context;
use nix::unistd::Uid;
use serde_json::json;
use service::config::is_missing;
use service::exit::{Exit, ExitError, OrExit};
use targets::{Candidate, Discovered, Group};
use toml::{Table, Value};

use super::words;

pub(super) fn discover(file: &Path, as_json: bool) -> Result<(), ExitError> {
    let targets = match is_missing(file) {
        // Nothing is a target yet.
        true => Table::new(),
        false => {
            let loaded = read(file, None).or_exit(Exit::Config)?;
            loaded.table().get("target").and_then(Value::as_table).cloned().unwrap_or_default()
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    let mut found = runtime.block_on(targets::discover(&targets));
    // A search that hangs must not hold the command.
    runtime.shutdown_background();
    if !Uid::effective().is_root() {
        found.remarks.push("only root sees what other users' programs have open".to_owned());
    }
    match as_json {
        true => print_json(&found),
        false => print(&found),
    }
    Ok(())
}

fn print_json(found: &Discovered) {
    let candidates = found.candidates.iter().map(|candidate| {
        json!({
            "group": candidate.group.to_string(),
            "what": candidate.what,
            "name": candidate.name,
            "target": candidate.table,
            "command": command(candidate),
        })
    });
    println!("{:#}", json!({ "found": candidates.collect::<Vec<_>>(), "remarks": found.remarks }));
}

fn print(found: &Discovered) {
    let mut last = None;
    for candidate in &found.candidates {
        if last.replace(candidate.group) != Some(candidate.group) {
            println!("{}:", heading(candidate.group));
        }
        println!("  {}", candidate.what);
        println!("    {}", command(candidate));
    }
    for remark in &found.remarks {
        eprintln!("remark: {remark}");
    }
    if found.candidates.is_empty() {
        println!("nothing was found that is not a target already");
    }
}

fn heading(group: Group) -> &'static str {
    match group {
        Group::Screen => "Screens",
        Group::Console => "Consoles",
        Group::Log => "Logs",
    }
}

fn command(candidate: &Candidate) -> String {
    let kind = candidate.table["kind"].as_str().unwrap_or_default();
    let words = words::write(&candidate.table).join(" ");
    format!("stream-agent target add {} {kind} {words}", candidate.name)
}
