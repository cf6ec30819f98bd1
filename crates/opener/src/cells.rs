//! The cells as the opener sees them: which one opens a target, and how it gets to know the target.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use protocol::end::End;
use protocol::mode::Mode;
use targets::{Cell, OpenError, Target};

use super::allowlist::NO_SUCH_TARGET;
use super::lifeline::Lifeline;
use super::settings::Settings;
use super::wire::{CellTarget, Connection, Reply, Request};

/// How long the answer to a probe may take beyond the target's own time: systemd starts the cell meanwhile.
const START: Duration = Duration::from_secs(10);

/// The socket of the cell that opens a target; `None` if the opener does.
pub(crate) fn of_target(target: &Target, runtime: &Path) -> Option<PathBuf> {
    let own = runtime.join("targets").join(&target.name);
    match target.cell() {
        _ if is_there(&own) => Some(own),
        Cell::Own | Cell::Shared => Some(own),
        Cell::Program => Some(of_programs(runtime)),
        Cell::Opener => None,
    }
}

/// Whether somebody listens there. The file of a unit that was removed may stay.
fn is_there(socket: &Path) -> bool {
    // A connection of this type is refused by a listener of the other, for another reason and without a trace.
    match UnixStream::connect(socket) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused),
    }
}

/// A cell that knows its target. Dropping it kills the cell, if it is of this session alone.
pub(crate) struct StartedCell {
    pub connection: Connection,
    lifeline: Lifeline,
}

impl StartedCell {
    /// Lets the cell end its programs.
    pub(crate) async fn end(self) {
        drop(self.connection);
        self.lifeline.let_end().await;
    }
}

/// The socket of the cells of programs without needs of their own.
pub(crate) fn of_programs(runtime: &Path) -> PathBuf {
    runtime.join("program")
}

/// A connection to the cell behind `path`, which knows the target. `ahead` is one that was made before.
pub(crate) async fn begin(
    path: &Path,
    target: &Target,
    params: &BTreeMap<String, String>,
    mode: Mode,
    settings: &Settings,
    ahead: Option<Connection>,
) -> Result<StartedCell, OpenError> {
    // A target that was checked is in the configuration.
    let table = settings.tables.get(&target.name).and_then(toml::Value::as_table).cloned();
    let (name, table, params) = (target.name.clone(), table.unwrap_or_default(), params.clone());
    let first = Request::Target(CellTarget { name, table, params, mode });
    let (lifeline, theirs) = Lifeline::pair().map_err(|error| failed(path, &error))?;
    if let Some(connection) = ahead
        && connection.send(&first, Some(&theirs)).await.is_ok()
    {
        return Ok(StartedCell { connection, lifeline });
    }
    let connection = Connection::to(path).await.map_err(|error| failed(path, &error))?;
    connection.send(&first, Some(&theirs)).await.map_err(|error| failed(path, &error))?;
    Ok(StartedCell { connection, lifeline })
}

/// Checks that a target could be opened, where it would be opened.
pub(crate) async fn probe(name: &str, settings: &Settings, runtime: &Path) -> Result<String, String> {
    let Some(target) = settings.targets.iter().find(|target| target.name == name) else {
        return Err(NO_SUCH_TARGET.into());
    };
    let Some(path) = of_target(target, runtime) else {
        return target.probe().await.map_err(|error| error.message);
    };
    let mode = target.modes.first().copied().unwrap_or(Mode::Ro);
    // Without parameters: a template is not filled in to be checked.
    let cell =
        begin(&path, target, &BTreeMap::new(), mode, settings, None).await.map_err(|error| error.message)?;
    let answer = async {
        cell.connection.send(&Request::ProbeTarget, None).await?;
        cell.connection.receive().await
    };
    let answered = timeout(target.open_timeout + START, answer).await;
    cell.end().await;
    match answered {
        Ok(Ok(Some((Reply::Probed(found), _)))) => found,
        Ok(Err(error)) => Err(failed(&path, &error).message),
        _ => Err(failed(&path, &io::ErrorKind::TimedOut.into()).message),
    }
}

fn failed(path: &Path, error: &io::Error) -> OpenError {
    let message = match error.kind() {
        io::ErrorKind::NotFound => {
            "it needs a unit of its own, which is not there: run `stream-agent targets --systemd-dropin`, \
                                    then `systemctl daemon-reload && systemctl restart stream-agent`"
                .to_owned()
        }
        _ => format!("the unit that opens it, {}: {error}", path.display()),
    };
    OpenError { end: End::TargetFailed, message }
}
