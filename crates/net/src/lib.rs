//! Connects to a host by its name. The addresses are tried as in RFC 8305: one that swallows packets costs a quarter of a
//! second, and does not fail the dial.

pub mod backoff;
pub mod socket;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};

/// The wait for one address before the next is also tried (RFC 8305 section 5, Connection Attempt Delay).
const HEAD_START: Duration = Duration::from_millis(250);

/// How long one lookup or one connect may take.
const STEP: Duration = Duration::from_secs(10);

/// An address that could not be connected to, and why.
#[derive(Debug, thiserror::Error)]
#[error("connect to {address}: {error}")]
pub struct Failed {
    pub address: SocketAddr,
    /// [`io::ErrorKind::TimedOut`] if nothing answered.
    pub error: io::Error,
}

/// Looks up the addresses of a host, in the resolver's order. There is at least one.
///
/// # Errors
/// If there is none, or the resolver fails.
pub async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, io::Error> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, Late);
    let found: Vec<SocketAddr> = timeout(STEP, lookup_host((host, port))).await.map_err(late)??.collect();
    match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "no address")),
        false => Ok(found),
    }
}

/// The errors of all addresses, in one line.
pub fn list(failed: &[Failed]) -> String {
    match failed {
        [] => "no address to connect to".into(),
        failed => failed.iter().map(Failed::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// Starts with the first address, and starts the next one whenever one has failed or has had its head start. Returns
/// the first connection, and drops the other attempts.
///
/// # Errors
/// If all have failed: each with its error, in the order of failure.
pub async fn race<T, F>(addresses: &[SocketAddr], connect: impl Fn(SocketAddr) -> F) -> Result<T, Vec<Failed>>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = interleaved(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let attempt = timeout(STEP, connect(address));
            attempts.push(async move {
                let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, Late));
                (address, attempt.await.unwrap_or_else(late))
            });
        }
        let head_start = Instant::now() + HEAD_START;
        tokio::select! {
            next = attempts.next() => match next {
                Some((_, Ok(connection))) => return Ok(connection),
                Some((address, Err(error))) => failed.push(Failed { address, error }),
                None => return Err(failed),
            },
            () = tokio::time::sleep_until(head_start), if waiting.len() > 0 => {}
        }
    }
}

/// Connects to all addresses at the same time. Returns for each how long it took, or why it failed.
pub async fn each(addresses: &[SocketAddr]) -> Vec<(SocketAddr, io::Result<Duration>)> {
    let probe = |address: SocketAddr| async move {
        let begun = Instant::now();
        let connected = tokio::select! {
            connected = TcpStream::connect(address) => connected.map(|_| begun.elapsed()),
            () = sleep(STEP) => Err(io::Error::new(io::ErrorKind::TimedOut, Late)),
        };
        (address, connected)
    };
    futures_util::future::join_all(addresses.iter().copied().map(probe)).await
}

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", STEP.as_secs())]
struct Late;

/// The resolver's order, with the families alternating (RFC 8305 section 4): if one family has no route, its addresses
/// are not all tried first.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first = |address: &&SocketAddr| address.is_ipv4() == addresses[0].is_ipv4();
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().partition(is_first);
    let mut second: std::vec::IntoIter<&SocketAddr> = second.into_iter();
    let mut order: Vec<SocketAddr> = Vec::new();
    for address in first {
        order.push(*address);
        order.extend(second.next());
    }
    order.extend(second);
    order
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_address_costs_only_its_head_start() {
        let addresses = addresses(&["[2001:db8::1]:1", "[2001:db8::2]:1", "192.0.2.1:1"]);
        let begun = Instant::now();
        let reached = race(&addresses, |address| async move {
            if address.is_ipv6() {
                pending::<()>().await;
            }
            Ok(address)
        });
        assert_eq!(reached.await.unwrap(), addresses[2]);
        assert_eq!(begun.elapsed(), HEAD_START);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_refuses_costs_nothing_and_the_error_names_all() {
        let addresses = addresses(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        let begun = Instant::now();
        let failed = race(&addresses, |_| async { Err::<(), _>(io::ErrorKind::ConnectionRefused.into()) });
        let failed = failed.await.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(
            list(&failed).starts_with("connect to 192.0.2.1:1: connection refused; connect to 192.0.2.2:1: ")
        );
        let failed = race(&addresses[..1], |_| pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!(list(&failed), "connect to 192.0.2.1:1: no answer within 10 s");
        assert_eq!(
            list(&race(&[], |_| pending::<io::Result<()>>()).await.unwrap_err()),
            "no address to connect to"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_first_address_still_wins_over_a_dead_second() {
        let addresses = addresses(&["192.0.2.1:1", "[2001:db8::1]:1"]);
        let reached = race(&addresses, |address| async move {
            if address.is_ipv6() {
                pending::<()>().await;
            }
            sleep(Duration::from_secs(3)).await;
            Ok(address)
        });
        assert_eq!(reached.await.unwrap(), addresses[0]);
    }

    #[test]
    fn families_alternate_in_the_resolvers_order() {
        let sorted = interleaved(&addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]));
        assert_eq!(sorted, addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]));
        assert!(interleaved(&[]).is_empty());
    }
}
