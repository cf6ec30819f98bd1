//! Accepts connections, with or without TLS, and has their requests answered. Handshakes never run in the
//! accept loop, and an accept that fails is tried again only after a pause.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use nix::errno::Errno;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, warn};

use http1::server::connection::{self, MAX_HEAD, MAX_LINES};
use http1::server::listener::{Accepted, Listener};
use http1::server::{admin, tls};
use net::socket::Socket;

use super::metrics::Cut;
use super::slots::{Slot, SlotLimits, Slots};
use super::state::State;
use super::{peer, routes};

/// The pause after an accept that failed: running out of descriptors must not make us spin.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// How many connections operators may open at once.
const ADMIN: SlotLimits = SlotLimits { total: 64, per_address: 64 };

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Public,
    Admin,
}

/// Accepts until the relay stops. `visits` are answered like connections, but need no slot and are counted
/// nowhere.
pub(crate) async fn serve(
    relay: Arc<State>,
    listener: Listener,
    purpose: Purpose,
    mut visits: mpsc::Receiver<UnixStream>,
) {
    // Counted apart: a flood of clients must not keep the operator out.
    let slots = match purpose {
        Purpose::Public => relay.slots.clone(),
        Purpose::Admin => Slots::new(ADMIN, Default::default()),
    };
    let visit_slots = Slots::new(ADMIN, Default::default());
    // Operators are answered until the very end, so that they can watch the drain.
    let until = if purpose == Purpose::Public { relay.stopping.clone() } else { relay.drained.clone() };
    loop {
        let accepted = tokio::select! {
            // Who comes when we stop waits in the queue, where the next relay may find it.
            biased;
            () = until.cancelled() => return,
            Some(visit) = visits.recv() => {
                if let Some(slot) = visit_slots.take(None) {
                    tokio::spawn(http(relay.clone(), Socket::Unix(visit), peer::LOCAL, purpose, slot));
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                let own = accepted.address().and_then(|from| relay.own_address(from));
                match slots.take(own) {
                    Some(slot) => {
                        tokio::spawn(serve_connection(relay.clone(), accepted, purpose, slot));
                    }
                    None => relay.metrics.cut(Cut::Full),
                }
            }
            Err(error) => {
                relay.metrics.accept_failures.inc();
                if relay.faults.admits("accept") {
                    warn!("accept failed: {error}");
                }
                if matches!(Errno::from_raw(error.raw_os_error().unwrap_or(0)), Errno::EMFILE | Errno::ENFILE)
                {
                    slots.evict_some();
                }
                sleep(COOL_DOWN).await;
            }
        }
    }
}

/// One connection, from its first byte to its last request or to its upgrade. Its slot goes on with a client that
/// is not linked yet.
async fn serve_connection(relay: Arc<State>, accepted: Accepted, purpose: Purpose, slot: Arc<Slot>) {
    let until = relay.drained.clone();
    let work = slot.until_evicted(respond(relay.clone(), accepted, purpose, slot.clone()));
    tokio::select! {
        done = work => if done.is_none() {
            relay.metrics.cut(Cut::Crowded);
        },
        () = until.cancelled() => {}
    }
}

/// TLS, and then what is asked.
async fn respond(relay: Arc<State>, accepted: Accepted, purpose: Purpose, slot: Arc<Slot>) {
    let from = accepted.address().unwrap_or(peer::LOCAL);
    let tls = relay.tls().filter(|_| purpose == Purpose::Public);
    match tls::accept(accepted, tls, relay.settings().tls_handshake).await {
        Ok(socket) => http(relay, socket, from, purpose, slot).await,
        Err(error @ tls::Error::Gone(_)) => debug!("connection from {from} {error}"),
        Err(error) => {
            relay.metrics.tls_failures.inc();
            debug!("TLS handshake with {from} {error}");
        }
    }
}

async fn http(relay: Arc<State>, socket: Socket, from: IpAddr, purpose: Purpose, slot: Arc<Slot>) {
    let served = connection::serve(socket, relay.settings().request_head, |request: Request<Incoming>| {
        let (relay, slot) = (relay.clone(), slot.clone());
        async move {
            match purpose {
                Purpose::Public => routes::respond(relay, request, from, slot).await,
                Purpose::Admin => admin::respond(&request, || relay.ready(), || relay.all_metrics.render()),
            }
        }
    });
    let Err(error) = served.await else { return };
    debug!("connection from {from}: {error}");
    match error {
        connection::Error::HeadTooLarge(_) => {
            relay.metrics.heads_too_large.inc();
            if relay.faults.admits("head") {
                warn!(
                    "a request from {from} was refused (431): its head, with all cookies, is over {} KiB or {MAX_LINES} lines",
                    MAX_HEAD / 1024
                );
            }
        }
        connection::Error::Slow => relay.metrics.cut(Cut::Slow),
        connection::Error::Broken(_) => {}
    }
}
