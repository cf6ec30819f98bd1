//! `target remove`: removes what `target add` made.

use std::fs;
use std::path::Path;

use agent::config::read;
use anyhow::{Context, anyhow};
use service::config::Change;
use service::exit::{Exit, ExitError, OrExit};

use super::made;
use super::plan::{Plan, print_diff};
use crate::arguments::How;

pub(super) fn remove(file: &Path, name: &str, how: How) -> Result<(), ExitError> {
    let loaded = read(file, None).or_exit(Exit::Config)?;
    let Some(origin) = loaded.origin(&["target", name]) else {
        return Err(anyhow!("there is no target {name}: `stream-agent target show` lists them"))
            .or_exit(Exit::DataErr);
    };
    let path = origin.file.clone();
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string()).or_exit(Exit::IoErr)?;
    if !made::is_made(&text) {
        let (there, line) = (path.display(), origin.line);
        let why = anyhow!(
            "{there}:{line} defines {name}, and is a file of yours: `target add` did not make it, or it was edited since. Take \
             [target.{name}] out of it, then run `stream-agent targets --systemd-dropin && systemctl daemon-reload && \
             systemctl reload stream-agent`"
        );
        return Err(why).or_exit(Exit::DataErr);
    }
    let change = Change { file: path, text: None };
    let plan = Plan::check(file, &change);
    let plan = plan.map_err(|error| anyhow!("{error} (nothing was changed)")).or_exit(Exit::Config)?;
    if how.dry_run {
        println!("would remove {}:", change.file.display());
    } else {
        made::remove(&change.file).with_context(|| change.file.display().to_string()).or_exit(Exit::IoErr)?;
        println!("removed {}:", change.file.display());
    }
    print_diff('-', &text);
    if !how.no_reload {
        println!("open streams of {name} end");
    }
    let carried_out = plan.carry_out(how);
    carried_out.with_context(|| format!("{} is removed", change.file.display())).or_exit(Exit::Unavailable)
}
