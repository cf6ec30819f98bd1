//! Helpers for the tests of all kinds.

use std::time::Duration;

use super::{Bound, OpenError, Opened, Shared, Target, Window};
use protocol::mode::Mode;

/// A target from the text of its table.
pub(super) fn target(text: &str) -> Target {
    target_named("test", text)
}

/// A target with a name of its own.
fn target_named(name: &str, text: &str) -> Target {
    Target::from_table(name, text.parse().unwrap()).unwrap()
}

/// Fails if the work takes more than 20 seconds.
pub(super) async fn in_time<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("took too long")
}

impl Target {
    /// Opens a target that needs no parameters and shares nothing.
    pub(super) async fn open(&self, mode: Mode, window: Option<Window>) -> Result<Opened, OpenError> {
        self.bind(&[].into()).unwrap().open_alone(mode, window).await
    }
}

impl Bound {
    /// Opens it as the only target of a program.
    pub(super) async fn open_alone(&self, mode: Mode, window: Option<Window>) -> Result<Opened, OpenError> {
        self.open(mode, window, &Shared::default()).await
    }
}

/// The command line of a kind that runs a program, or why there is none.
pub(super) fn bound_argv(text: &str, param: &str, value: &str) -> Result<String, String> {
    let target = Target::from_table("t", text.parse().unwrap()).map_err(|error| error.to_string())?;
    let bound = target.bind(&[(param.to_owned(), value.to_owned())].into());
    let bound = bound.map_err(|error| error.to_string())?;
    let program = match &bound.kind {
        super::kinds::Bound::Exec(program)
        | super::kinds::Bound::Lxc(program)
        | super::kinds::Bound::Incus(program)
        | super::kinds::Bound::Machine(program) => program,
        other => panic!("{other:?} runs no program"),
    };
    Ok(format!("{} {}", program.path.display(), program.arguments.join(" ")))
}
