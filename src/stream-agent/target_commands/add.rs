//! `target add`: a file for a new target, checked before it is there.

use std::path::Path;

use agent::config::read;
use anyhow::{Context, anyhow};
use service::config::{Change, ConfigError};
use service::exit::{Exit, ExitError, OrExit};
use targets::Target;

use super::made;
use super::plan::{Plan, print_diff};
use super::words;
use crate::arguments::Add;

pub(super) fn add(file: &Path, add: &Add) -> Result<(), ExitError> {
    let Add { name, kind, settings, title, how } = add;
    Target::check_name(name).or_exit(Exit::Usage)?;
    let table = words::read(name, kind, title.as_deref(), settings).or_exit(Exit::Usage)?;
    let loaded = read(file, None).or_exit(Exit::Config)?;
    if let Some(origin) = loaded.origin(&["target", name]) {
        let (there, line) = (origin.file.display(), origin.line);
        let why = anyhow!(
            "the target {name} is already defined at {there}:{line}: choose another name, or change it there"
        );
        return Err(why).or_exit(Exit::DataErr);
    }
    let dir = file.with_file_name("targets.d");
    let new = made::free_file(&dir, name).with_context(|| {
        format!(
            "{name}.toml and {name}.target.toml in {} are files of yours: choose another name",
            dir.display()
        )
    });
    let new = new.or_exit(Exit::DataErr)?;
    let text = made::text(name, &table);
    let change = Change { file: new, text: Some(text.clone()) };
    let plan =
        Plan::check(file, &change).map_err(|error| unchanged(&error, &change)).or_exit(Exit::Config)?;
    if how.dry_run {
        println!("would write {}:", change.file.display());
    } else {
        made::write(&change.file, &text).map_err(|error| {
            let exit =
                if error.kind() == std::io::ErrorKind::PermissionDenied { Exit::NoPerm } else { Exit::IoErr };
            ExitError::new(
                exit,
                anyhow!("{}: {error}: run it as the owner of that folder", change.file.display()),
            )
        })?;
        println!("wrote {}:", change.file.display());
    }
    print_diff('+', &text);
    let there =
        || format!("the target is in {} (`target remove {name}` takes it back)", change.file.display());
    plan.carry_out(*how).with_context(there).or_exit(Exit::Unavailable)?;
    if !how.dry_run && !how.no_reload {
        let program = program(file);
        println!("test it: {program} test-dial --target {name}");
        println!("open it: stream-relay open {} {name}", plan.host);
    }
    Ok(())
}

/// The program with the option that it needs for this configuration.
fn program(file: &Path) -> String {
    match service::unit::runs_with(file) {
        true => "stream-agent".to_owned(),
        false => format!("stream-agent --config {}", file.display()),
    }
}

/// The error that keeps a file from being written. It names no line of a file that is not there.
fn unchanged(error: &ConfigError, change: &Change) -> anyhow::Error {
    let error = if error.file == change.file { error.message.clone() } else { error.to_string() };
    anyhow!("{error} (nothing was changed)")
}
