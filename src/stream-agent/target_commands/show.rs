//! `target show`: each target, where it is defined, and who may change it.

use std::fs;
use std::path::Path;

use agent::config::{opener_settings, read, targets};
use agent::installed::Installed;
use anyhow::anyhow;
use serde_json::{Value, json};
use service::config::Loaded;
use service::exit::{Exit, ExitError, OrExit};
use targets::Target;
use targets::sandbox::Units;

use super::made;

pub(super) fn show(file: &Path, name: Option<&str>, as_json: bool) -> Result<(), ExitError> {
    let loaded = read(file, None).or_exit(Exit::Config)?;
    let all = targets(&loaded).or_exit(Exit::Config)?;
    let is_split = Installed::with(file).is_some_and(|installed| installed.is_split());
    // Only the split service has such units. It has none yet if the rest of the configuration is wrong.
    let opener = is_split.then(|| opener_settings(&loaded).ok()).flatten();
    let units = opener.map(|opener| Units::new(&opener.targets));
    let shown = all.iter().filter(|target| name.is_none_or(|name| target.name == name));
    let shown: Vec<Shown<'_>> = shown.map(|target| Shown::new(target, &loaded, units.as_ref())).collect();
    if let (Some(name), true) = (name, shown.is_empty()) {
        let why = anyhow!("there is no target {name}: `stream-agent target show` lists them");
        return Err(why).or_exit(Exit::DataErr);
    }
    if as_json {
        println!("{:#}", json!({ "targets": shown.iter().map(Shown::to_json).collect::<Vec<_>>() }));
        return Ok(());
    }
    if shown.is_empty() {
        println!("no target yet: `stream-agent target discover` lists what this host has");
    }
    for target in &shown {
        target.print();
    }
    Ok(())
}

/// A target and what is known of its definition.
struct Shown<'a> {
    target: &'a Target,
    file: String,
    line: usize,
    is_made: bool,
    unit: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(target: &'a Target, loaded: &Loaded, units: Option<&'a Units>) -> Shown<'a> {
        let origin = loaded.origin(&["target", &target.name]);
        let text = origin.and_then(|origin| fs::read_to_string(&origin.file).ok());
        Shown {
            target,
            file: origin.map(|origin| origin.file.display().to_string()).unwrap_or_default(),
            line: origin.map_or(0, |origin| origin.line),
            is_made: text.is_some_and(|text| made::is_made(&text)),
            unit: units.and_then(|units| units.socket_of(&target.name)),
        }
    }

    fn modes(&self) -> Vec<String> {
        self.target.modes.iter().map(ToString::to_string).collect()
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.target.name,
            "kind": self.target.kind_name(),
            "title": self.target.title,
            "modes": self.modes(),
            "file": self.file,
            "line": self.line,
            "made_by_command": self.is_made,
            "unit": self.unit,
        })
    }

    fn print(&self) {
        let Shown { target, file, line, .. } = self;
        println!("{}: {}, {}", target.name, target.kind_name(), self.modes().join(" or "));
        if let Some(title) = &target.title {
            println!("    title    {title}");
        }
        println!("    defined  {file}:{line}{}", if self.is_made { " (by target add)" } else { "" });
        if let Some(unit) = self.unit {
            println!("    unit     {unit}");
        }
    }
}
