//! A signal to end, with its reason, for any number of streams.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use protocol::close::CloseFrame;

/// Clones share the reason. The first one counts.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(CancellationToken, OnceLock<CloseFrame>)>);

impl Stop {
    /// Gives the signal; only the first reason counts.
    pub fn now(&self, why: CloseFrame) {
        let (token, reason) = &*self.0;
        let _ = reason.set(why);
        token.cancel();
    }

    /// Resolves with the reason once the signal was given.
    pub async fn wait(&self) -> CloseFrame {
        let (token, reason) = &*self.0;
        token.cancelled().await;
        match reason.get() {
            Some(why) => why.clone(),
            // It is set before the token is cancelled.
            None => protocol::end::End::SessionEnded.into(),
        }
    }
}
