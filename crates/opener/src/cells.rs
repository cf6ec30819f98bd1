//! The cells as the opener sees them: which one opens a target, and how it gets to know the target.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use protocol::end::End;
use protocol::mode::Mode;
use targets::{Cell, OpenError, Target};

use super::settings::Settings;
use super::wire::{CellTarget, Connection, Reply, Request};

/// How long the answer to a probe may take beyond the target's own time: systemd starts the cell meanwhile.
const START: Duration = Duration::from_secs(10);

/// The socket of the cell that opens a target; `None` if the opener does.
pub(crate) fn of_target(target: &Target, runtime: &Path) -> Option<PathBuf> {
    let own = runtime.join("targets").join(&target.name);
    match target.cell() {
        _ if own.exists() => Some(own),
        Cell::Own => Some(own),
        Cell::Program => Some(runtime.join("program")),
        Cell::Opener => None,
    }
}

/// A connection to the cell behind `path`, which knows the target.
pub(crate) async fn begin(
    path: &Path,
    target: &Target,
    params: &BTreeMap<String, String>,
    mode: Mode,
    settings: &Settings,
) -> Result<Connection, OpenError> {
    // A target that was checked is in the configuration.
    let table = settings.tables.get(&target.name).and_then(toml::Value::as_table).cloned();
    let (name, table, params) = (target.name.clone(), table.unwrap_or_default(), params.clone());
    let cell = Connection::to(path).await.map_err(|error| failed(path, &error))?;
    let first = Request::Target(CellTarget { name, table, params, mode });
    cell.send(&first, None).await.map_err(|error| failed(path, &error))?;
    Ok(cell)
}

/// Checks that a target could be opened, where it would be opened.
pub(crate) async fn probe(name: &str, settings: &Settings, runtime: &Path) -> Result<String, String> {
    let Some(target) = settings.targets.iter().find(|target| target.name == name) else {
        return Err("no such target on this host's allowlist".into());
    };
    let Some(path) = of_target(target, runtime) else {
        return target.probe().await.map_err(|error| error.message);
    };
    let mode = target.modes.first().copied().unwrap_or(Mode::Ro);
    // Without parameters: a template is not filled in to be checked.
    let cell = begin(&path, target, &BTreeMap::new(), mode, settings).await.map_err(|error| error.message)?;
    let answer = async {
        cell.send(&Request::ProbeTarget, None).await?;
        cell.receive().await
    };
    match timeout(target.open_timeout + START, answer).await {
        Ok(Ok(Some((Reply::Probed(found), _)))) => found,
        Ok(Err(error)) => Err(failed(&path, &error).message),
        _ => Err(failed(&path, &io::ErrorKind::TimedOut.into()).message),
    }
}

fn failed(path: &Path, error: &io::Error) -> OpenError {
    let message = format!("the cell of the target, {}: {error}", path.display());
    OpenError { end: End::TargetFailed, message }
}
