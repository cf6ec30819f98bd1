//! Accepts connections, with or without TLS, and has their requests answered. Handshakes never run in the
//! accept loop, and an accept that fails is tried again only after a pause.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::link::socket::Socket;

use super::Relay;
use super::answer::Answer;
use super::listener::{Accepted, Listener};
use super::metrics::Held;
use super::{admin, peer, routes};

/// The largest head of a request, in bytes: hyper's smallest buffer.
const MAX_HEAD: usize = 8 * 1024;

/// The pause after an accept that failed: running out of descriptors must not make us spin.
const COOL_DOWN: Duration = Duration::from_millis(100);

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
        Purpose::Public => relay.settings().connections,
        Purpose::Admin => 64,
    };
    let places = Arc::new(Semaphore::new(places));
    // Operators are answered until the very end, so that they can watch the drain.
    let until = if purpose == Purpose::Public { relay.stopping.clone() } else { relay.drained.clone() };
    let next = async || {
        // The semaphore is never closed.
        let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        Ok((place, listener.accept().await?))
    };
    loop {
        let accepted: std::io::Result<_> = tokio::select! {
            // Who comes when we stop waits in the queue, where the next relay may find it.
            biased;
            () = until.cancelled() => return,
            Some(visit) = visits.recv() => {
                tokio::spawn(http(relay.clone(), TokioIo::new(visit), peer::LOCAL, purpose));
                continue;
            }
            accepted = next() => accepted,
        };
        let (place, accepted) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                relay.metrics.accept_failures.inc();
                warn!("accept failed: {error}");
                sleep(COOL_DOWN).await;
                continue;
            }
        };
        let relay = relay.clone();
        tokio::spawn(async move {
            let held = (purpose == Purpose::Public).then(|| Held::one(&relay.metrics.connections));
            connection(relay, accepted, purpose, (place, held)).await;
        });
    }
}

/// One connection, from its first byte to its last request or to its upgrade.
///
/// `place` is given back when the request is answered: a linked stream is bounded by its own limits.
async fn connection<T: Send + 'static>(relay: Arc<Relay>, accepted: Accepted, purpose: Purpose, place: T) {
    let until = relay.drained.clone();
    let work = async {
        match accepted {
            Accepted::Unix(stream) => http(relay, TokioIo::new(stream), peer::LOCAL, purpose).await,
            Accepted::Tcp(stream, from) => {
                if let Err(error) = stream.set_nodelay(true) {
                    return debug!("connection from {from} ended at once: {error}");
                }
                let tls = relay.tls().filter(|_| purpose == Purpose::Public);
                let socket = match tls {
                    None => Socket::Tcp(stream),
                    Some(config) => {
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
                };
                http(relay, TokioIo::new(socket), from, purpose).await;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = until.cancelled() => {}
    }
    drop(place);
}

async fn http<I>(relay: Arc<Relay>, io: I, from: IpAddr, purpose: Purpose)
where
    I: Read + Write + Unpin + Send + 'static,
{
    let head = relay.settings().request_head;
    let service = service_fn(move |request: Request<Incoming>| {
        let relay = relay.clone();
        async move {
            let answer: Answer = match purpose {
                Purpose::Public => routes::answer(relay, request, from).await,
                Purpose::Admin => admin::answer(&relay, &request),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!("connection from {from}: {error}");
    }
}
