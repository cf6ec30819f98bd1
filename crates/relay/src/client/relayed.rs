//! A linked stream: it moves bytes to the end, and is recorded.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tracing::debug;

use net::socket::Socket;
use protocol::audit::{Context, Event};
use protocol::end::Outcome;
use websocket::connection::EndedWebSocket;

use crate::metrics::GaugeGuard;
use crate::rendezvous::Stream;
use crate::state::State;

/// How the stream ended, and its host's and client's websockets.
type LinkEnded = (Outcome, EndedWebSocket<Socket>, EndedWebSocket<Socket>);

/// A linked stream, and what its records need.
pub(super) struct Relayed {
    pub(super) relay: Arc<State>,
    pub(super) address: IpAddr,
    pub(super) begun: Instant,
    pub(super) stream: Stream,
}

impl Relayed {
    /// Moves bytes until the stream ends, and records the end. Thousands of these are idle, so what happens once is
    /// boxed.
    pub(super) async fn run(self, link: impl Future<Output = LinkEnded> + Unpin) {
        let held = GaugeGuard::new(&self.relay.metrics.streams);
        debug!("client and host are linked");
        let (outcome, host, client) = link.await;
        drop(held);
        self.relay.metrics.ended(&outcome);
        self.report(Event::Ended { outcome, lasted: self.begun.elapsed() });
        // The session may end now: its spares need not wait for the close frames.
        drop(self);
        Box::pin(async { tokio::join!(host.close(), client.close()) }).await;
    }

    pub(super) fn report(&self, event: Event) {
        let context = Context {
            stream: Some(self.stream.number()),
            peer: Some(self.address),
            ..self.stream.admission().context()
        };
        self.relay.audit.report(context, event);
    }
}
