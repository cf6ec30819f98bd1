//! What the tests of every kind share.

use std::time::Duration;

use super::{OpenError, Opened, Target, Window};
use crate::protocol::mode::Mode;

/// A target from the text of its table.
pub(super) fn target(text: &str) -> Target {
    target_named("test", text)
}

/// A target with a name of its own.
pub(in crate::agent) fn target_named(name: &str, text: &str) -> Target {
    Target::from_table(name, text.parse().unwrap()).unwrap()
}

/// Fails instead of hanging.
pub(super) async fn in_time<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("took too long")
}

impl Target {
    /// Opens a target that needs no parameters.
    pub(super) async fn open(&self, mode: Mode, window: Option<Window>) -> Result<Opened, OpenError> {
        self.bind(&[].into()).unwrap().open(mode, window).await
    }
}
