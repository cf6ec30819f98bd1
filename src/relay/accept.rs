//! Accepts connections, with or without TLS, and has their requests answered. Handshakes never run in the
//! accept loop, and an accept that fails is tried again only after a pause.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::link::socket::Socket;

use super::Relay;
use super::answer::Answer;
use super::listener::{Accepted, Listener};
use super::metrics::Cut;
use super::places::{Place, Places, Room};
use super::{admin, peer, routes};

/// The largest head of a request, in bytes: browsers bring every cookie of the site.
const MAX_HEAD: usize = 32 * 1024;

/// The most header lines of a request.
const MAX_LINES: usize = 200;

/// The pause after an accept that failed: running out of descriptors must not make us spin.
const COOL_DOWN: Duration = Duration::from_millis(100);

/// How long an answer may take to be taken.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a request may be worked on. Only the API takes longer than a moment, and it has shorter limits itself.
const WORK: Duration = Duration::from_secs(120);

/// Data that the other side does not acknowledge for this long end a connection that is not linked or parked, also
/// after it was closed: else its kernel buffers would stay for minutes (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Operators' places.
const ADMIN: Room = Room { places: 64, per_address: 64 };

/// What a listener is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Hosts and clients.
    Public,
    /// Operators.
    Admin,
}

/// Accepts until the relay stops. `visits` are answered like connections, but need no place and are counted
/// nowhere.
pub async fn serve(
    relay: Arc<Relay>,
    listener: Listener,
    purpose: Purpose,
    mut visits: mpsc::Receiver<UnixStream>,
) {
    // Counted apart: a flood of clients must not keep the operator out.
    let places = match purpose {
        Purpose::Public => relay.places.clone(),
        Purpose::Admin => Places::new(ADMIN, Default::default()),
    };
    let visitors = Places::new(ADMIN, Default::default());
    // Operators are answered until the very end, so that they can watch the drain.
    let until = if purpose == Purpose::Public { relay.stopping.clone() } else { relay.drained.clone() };
    loop {
        let accepted = tokio::select! {
            // Who comes when we stop waits in the queue, where the next relay may find it.
            biased;
            () = until.cancelled() => return,
            Some(visit) = visits.recv() => {
                if let Some(place) = visitors.take(None) {
                    tokio::spawn(http(relay.clone(), Socket::Unix(visit), peer::LOCAL, purpose, place));
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                let own = accepted.address().and_then(|from| relay.own_address(from));
                match places.take(own) {
                    Some(place) => {
                        tokio::spawn(connection(relay.clone(), accepted, purpose, place));
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
                    places.make_room();
                }
                sleep(COOL_DOWN).await;
            }
        }
    }
}

/// One connection, from its first byte to its last request or to its upgrade. Its place goes on with a client that
/// is not linked yet.
async fn connection(relay: Arc<Relay>, accepted: Accepted, purpose: Purpose, place: Arc<Place>) {
    let until = relay.drained.clone();
    let work = place.hold(respond(relay.clone(), accepted, purpose, place.clone()));
    tokio::select! {
        done = work => if done.is_none() {
            relay.metrics.cut(Cut::Crowded);
        },
        () = until.cancelled() => {}
    }
}

/// TLS, and then what is asked.
async fn respond(relay: Arc<Relay>, accepted: Accepted, purpose: Purpose, place: Arc<Place>) {
    let (stream, from) = match accepted {
        Accepted::Unix(stream) => {
            return http(relay, Socket::Unix(stream), peer::LOCAL, purpose, place).await;
        }
        Accepted::Tcp(stream, from) => (stream, from),
    };
    if let Err(error) = stream.set_nodelay(true) {
        return debug!("connection from {from} ended at once: {error}");
    }
    let tls = relay.tls().filter(|_| purpose == Purpose::Public);
    let plain = Socket::Tcp(stream);
    plain.give_up_after(Some(UNACKNOWLEDGED));
    let socket = match (tls, plain) {
        (Some(config), Socket::Tcp(stream)) => {
            let limit = relay.settings().tls_handshake;
            match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
                Ok(Ok(stream)) => Socket::Tls(Box::new(stream.into())),
                Ok(Err(error)) => {
                    relay.metrics.tls_failures.inc();
                    return debug!("TLS handshake with {from} failed: {error}");
                }
                Err(_) => {
                    relay.metrics.tls_failures.inc();
                    return debug!("TLS handshake with {from} took longer than {limit:?}");
                }
            }
        }
        (_, plain) => plain,
    };
    http(relay, socket, from, purpose, place).await;
}

async fn http(relay: Arc<Relay>, socket: Socket, from: IpAddr, purpose: Purpose, place: Arc<Place>) {
    let head = relay.settings().request_head;
    let (deadline, until) = watch::channel(Instant::now() + head + ANSWER);
    let service = service_fn({
        let (relay, deadline) = (relay.clone(), Arc::new(deadline));
        move |request: Request<Incoming>| {
            let (relay, deadline, place) = (relay.clone(), deadline.clone(), place.clone());
            async move {
                deadline.send_replace(Instant::now() + WORK);
                let answer: Answer = match purpose {
                    Purpose::Public => routes::answer(relay, request, from, place).await,
                    Purpose::Admin => admin::answer(&relay, &request),
                };
                // To take the answer, and to ask again.
                deadline.send_replace(Instant::now() + ANSWER + head);
                Ok::<_, Infallible>(answer)
            }
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_LINES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::select! {
        served = served => if let Err(error) = served {
            debug!("connection from {from}: {error}");
            if error.is_parse_too_large() {
                relay.metrics.heads_too_large.inc();
                if relay.faults.admits("head") {
                    warn!("a request from {from} was refused (431): its head, with all cookies, is over {} KiB or {MAX_LINES} lines", MAX_HEAD / 1024);
                }
            }
        },
        () = passed(until) => {
            relay.metrics.cut(Cut::Slow);
            debug!("connection from {from}: the answer was not taken in time");
        }
    }
}

/// Resolves when a time that may be moved has come.
async fn passed(mut until: watch::Receiver<Instant>) {
    loop {
        let at = *until.borrow_and_update();
        tokio::select! {
            () = sleep_until(at) => return,
            // Without the other end nobody moves it any more.
            moved = until.changed() => if moved.is_err() { return sleep_until(at).await },
        }
    }
}
