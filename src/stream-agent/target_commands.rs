//! `target`: finds, adds, removes and shows targets.

mod add;
mod discover;
mod made;
mod plan;
mod remove;
mod show;
mod words;

use std::path::Path;

use anyhow::anyhow;
use nix::unistd::Uid;
use service::exit::{Exit, ExitError, OrExit};
use service::unit;

use crate::arguments::TargetCommand;

pub(crate) fn run(file: &Path, command: &TargetCommand, as_json: bool) -> Result<(), ExitError> {
    if unit::runs_with(file) && !Uid::effective().is_root() {
        let why = "only root may read the targets of the service and change them: run it with sudo";
        return Err(anyhow!("{why}")).or_exit(Exit::NoPerm);
    }
    match command {
        TargetCommand::Discover => discover::discover(file, as_json),
        TargetCommand::Add(target) => add::add(file, target),
        TargetCommand::Remove { name, how } => remove::remove(file, name, *how),
        TargetCommand::Show { name } => show::show(file, name.as_deref(), as_json),
    }
}
