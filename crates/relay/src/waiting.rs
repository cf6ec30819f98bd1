//! How a client waits for its host, whichever way it came, and what is recorded if it gets none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use protocol::audit::{Context, Event};
use protocol::close::CloseFrame;
use protocol::end::{Closing, End};
use protocol::token::TokenHash;
use service::network::{self, SUBSCRIBER};

use super::rendezvous::{Linked, Waiting};
use super::state::{HostSocket, State};

/// How long handing over a claimed host's websocket may take, even if `client_wait` is shorter.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(5);

/// How waiting for a host ended.
pub(crate) enum WaitEnd {
    Host(Box<Linked<HostSocket>>),
    /// The host left while it was claimed: another one may come.
    HostLeft,
    Refused(CloseFrame),
}

impl State {
    pub(crate) async fn await_host(&self, mut waiting: Waiting<HostSocket>, late: Instant) -> WaitEnd {
        let late = if waiting.has_host() { late.max(Instant::now() + HAND_OVER) } else { late };
        tokio::select! {
            biased;
            result = waiting.result() => match result {
                Some(Ok(linked)) => WaitEnd::Host(Box::new(linked)),
                Some(Err(why)) => WaitEnd::Refused(why),
                None => WaitEnd::HostLeft,
            },
            () = sleep_until(late) => WaitEnd::Refused(waiting.timeout_end().into()),
            () = self.stopping.cancelled() => WaitEnd::Refused(End::RelayRestarting.into()),
        }
    }

    /// Waits until a linked stream must end: its session's time is over, or the relay has drained.
    pub(crate) async fn stop_at(self: Arc<State>, until: Instant) -> CloseFrame {
        tokio::select! {
            () = sleep_until(until) => CloseFrame::new(End::SessionEnded, "the session's time is over"),
            () = self.drained.cancelled() => End::RelayRestarting.into(),
        }
    }

    /// Counts and records a client that gets no stream.
    pub(crate) fn client_refused(&self, closing: Closing, address: IpAddr, token: Option<TokenHash>) {
        self.metrics.refused_client(closing.end);
        if self.unknown_peers.admits(network::containing(address, SUBSCRIBER)) {
            let context = Context { peer: Some(address), token, ..Context::default() };
            self.audit.report(context, Event::Refused(closing));
        }
    }
}
