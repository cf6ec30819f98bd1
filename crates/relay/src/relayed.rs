//! A linked stream: it moves bytes to the end, and is recorded.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use protocol::audit::{Context, Event};
use protocol::end::Outcome;

use super::metrics::GaugeGuard;
use super::rendezvous::Stream;
use super::state::State;

/// A linked stream, and what its records need.
pub(crate) struct Relayed {
    pub(crate) relay: Arc<State>,
    pub(crate) address: IpAddr,
    pub(crate) begun: Instant,
    pub(crate) stream: Stream,
}

impl Relayed {
    /// Moves bytes until the stream ends, records the end, and runs `close` with what is left of both sides. Thousands
    /// of these are idle, so what happens once is boxed.
    pub(crate) async fn run<Ended, Closing: Future<Output = ()>>(
        self,
        link: impl Future<Output = (Outcome, Ended)> + Unpin,
        close: impl FnOnce(Ended) -> Closing,
    ) {
        let held = GaugeGuard::new(&self.relay.metrics.streams);
        debug!("client and host are linked");
        let (outcome, ended) = link.await;
        drop(held);
        self.relay.metrics.ended(&outcome);
        self.report(Event::Ended { outcome, lasted: self.begun.elapsed() });
        // The session may end now: its spares need not wait for the close.
        drop(self);
        Box::pin(close(ended)).await;
    }

    pub(crate) fn report(&self, event: Event) {
        let context = Context {
            stream: Some(self.stream.number()),
            peer: Some(self.address),
            ..self.stream.admission().context()
        };
        self.relay.audit.report(context, event);
    }
}
