//! What a changed file means for the installed service: its units, and what has to be run.

use std::path::Path;
use std::process::{Command, Stdio};

use agent::config::{opener_settings, read, settings};
use agent::installed::{Installed, UNITS};
use anyhow::{Context, Result, bail};
use service::config::{Change, ConfigError};
use service::unit;
use targets::Target;
use targets::sandbox::{UnitChange, Units};

use crate::arguments::How;

const SERVICE: &str = "stream-agent";

/// The configuration after a change of one file, checked as the service will read it.
pub(super) struct Plan {
    pub(super) host: String,
    targets: Vec<Target>,
    installed: Option<Installed>,
}

impl Plan {
    /// Checks the whole configuration as it will be.
    pub(super) fn check(file: &Path, change: &Change) -> Result<Plan, ConfigError> {
        let loaded = read(file, Some(change))?;
        let installed = Installed::with(file);
        let (host, targets) = if installed.as_ref().is_some_and(Installed::is_split) {
            // The other half does not read targets, and the check of a reload sees the secrets.
            let opener = opener_settings(&loaded)?;
            (opener.host, opener.targets)
        } else {
            let settings = settings(&loaded, unit::runs_as_root(file))?;
            (settings.host, settings.targets)
        };
        Ok(Plan { host: host.to_string(), targets, installed })
    }

    /// Gives the service what the targets need now, and lets it read them. Prints each step.
    pub(super) fn carry_out(&self, how: How) -> Result<()> {
        match &self.installed {
            Some(_) if how.no_reload => {
                println!(
                    "units and service are as before: the next change without --no-reload brings them up to date"
                );
            }
            None => println!("no service runs with this configuration: send the agent that does SIGHUP"),
            Some(installed @ Installed::Unsplit(_)) => self.reload_unsplit(installed, how)?,
            Some(Installed::Split(_)) => self.reload(how)?,
        }
        Ok(())
    }

    fn reload(&self, how: How) -> Result<()> {
        let (units, dir) = (Units::new(&self.targets), Path::new(UNITS));
        let changes = if how.dry_run { units.changes(dir) } else { units.write(dir)? };
        let steps = Steps { is_dry: how.dry_run };
        for change in &changes {
            println!("{}{}", if how.dry_run { "would have " } else { "" }, change.done(dir));
        }
        if !changes.is_empty() {
            steps.systemctl(&["daemon-reload"])?;
        }
        for remark in units.remarks() {
            println!("remark: {remark}");
        }
        if !unit::is_active() {
            println!("the service does not run: `systemctl enable --now {SERVICE}` starts it");
            return Ok(());
        }
        let sockets = |change: &&UnitChange| change.name().ends_with(".socket");
        // A socket that others use already listens with its old settings, and its cell may run.
        if changes.iter().filter(sockets).any(|change| matches!(change, UnitChange::Replace(_))) {
            println!(
                "the unit of another target changes, so the service is restarted, which ends all streams"
            );
            return steps.systemctl(&["restart", SERVICE]);
        }
        for socket in changes.iter().filter(sockets).filter(|change| matches!(change, UnitChange::Add(_))) {
            steps.systemctl(&["start", socket.name()])?;
        }
        steps.systemctl(&["reload", SERVICE])?;
        for socket in changes.iter().filter(sockets).filter(|change| matches!(change, UnitChange::Remove(_)))
        {
            // Only the memory of systemd has it, perhaps not even that.
            if let Err(error) = steps.systemctl(&["stop", socket.name()]) {
                println!("remark: {error:#}");
            }
        }
        Ok(())
    }

    fn reload_unsplit(&self, installed: &Installed, how: How) -> Result<()> {
        let lacks = installed.lacks(&self.targets);
        for lack in &lacks {
            println!("{}: {}", lack.what, lack.remedy);
        }
        if lacks.is_empty() && unit::is_active() {
            return Steps { is_dry: how.dry_run }.systemctl(&["reload", SERVICE]);
        }
        if lacks.is_empty() {
            println!("the service does not run: `systemctl enable --now {SERVICE}` starts it");
        }
        Ok(())
    }
}

/// Commands that are run, or only printed.
struct Steps {
    is_dry: bool,
}

impl Steps {
    fn systemctl(&self, arguments: &[&str]) -> Result<()> {
        let line = format!("systemctl {}", arguments.join(" "));
        if self.is_dry {
            println!("would run: {line}");
            return Ok(());
        }
        println!("run: {line}");
        let ran = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output();
        let ran = ran.with_context(|| line.clone())?;
        if !ran.status.success() {
            let why = String::from_utf8_lossy(&ran.stderr);
            bail!("`{line}` failed: {}: `systemctl status {SERVICE}` says more", why.trim());
        }
        Ok(())
    }
}

/// Prints the lines of a file with what becomes of them in front.
pub(super) fn print_diff(sign: char, text: &str) {
    text.lines().for_each(|line| println!("{sign} {line}"));
}
