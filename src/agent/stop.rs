//! A reason to end, said once and heard by any number of streams.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::protocol::close::CloseFrame;

/// Clones share the reason. The first one counts.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(CancellationToken, OnceLock<CloseFrame>)>);

impl Stop {
    /// Says that it is time to end, and why.
    pub fn now(&self, why: CloseFrame) {
        let (token, reason) = &*self.0;
        // A second reason comes too late to matter.
        let _ = reason.set(why);
        token.cancel();
    }

    /// Waits for the reason.
    pub async fn wait(&self) -> CloseFrame {
        let (token, reason) = &*self.0;
        token.cancelled().await;
        match reason.get() {
            Some(why) => why.clone(),
            // It is set before the token is cancelled.
            None => crate::protocol::end::End::SessionEnded.into(),
        }
    }

    /// The reason, if it is time.
    pub fn why(&self) -> Option<CloseFrame> {
        self.0.1.get().cloned()
    }
}
