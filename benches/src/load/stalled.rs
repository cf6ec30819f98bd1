//! Clients that do not read: what they hold, and what others feel of a client that reads a byte a second.

use std::time::{Duration, Instant};

use super::{Answer, echo, ordered, p50_p99, settled, until};
use crate::account::{own_tcp_memory, tcp_memory};
use crate::chain::Chain;
use crate::target::{Job, Order};

/// Readers that are stalled at once.
const READERS: usize = 50;

/// User and kernel memory of a stream whose client reads nothing.
pub fn held(chain: &Chain) -> anyhow::Result<Vec<Answer>> {
    let user = || chain.roles.iter().map(|role| role.used().rss).sum::<u64>();
    let (user_before, kernel_before) = (user(), settled(Duration::from_secs(3), tcp_memory));
    let own_before = own_tcp_memory(&chain.roles)?;
    let mut wires = vec![];
    for _ in 0..READERS {
        wires.push(ordered(chain.open()?, Order::of(Job::Source))?);
    }
    let kernel = settled(Duration::from_secs(15), tcp_memory);
    let each = |before: u64, after: u64| (after as f64 - before as f64) / READERS as f64 / 1024.0;
    let mut answers =
        vec![("stalled reader, kernel TCP memory with both ends', KiB".into(), each(kernel_before, kernel))];
    if !chain.roles.is_empty() {
        answers.push((
            "stalled reader, kernel TCP memory, KiB".into(),
            each(own_before, own_tcp_memory(&chain.roles)?),
        ));
        answers.push(("stalled reader, user memory, KiB".into(), each(user_before, user())));
    }
    drop(wires);
    settled(Duration::from_secs(10), tcp_memory);
    Ok(answers)
}

/// Round trips of another stream, without and with readers of one byte a second.
pub fn neighbour(chain: &Chain, window: Duration) -> anyhow::Result<Vec<Answer>> {
    let times = || -> anyhow::Result<_> {
        let wire = ordered(chain.open()?, Order::of(Job::Echo))?;
        Ok(p50_p99(echo::times(wire, 64, window)?))
    };
    let (_, alone) = times()?;
    let deadline = Instant::now() + window + Duration::from_secs(1);
    let mut threads = vec![];
    for _ in 0..8 {
        let wire = ordered(chain.open()?, Order::of(Job::Source))?;
        threads.push(until(deadline, wire, |wire| {
            std::thread::sleep(Duration::from_secs(1));
            wire.receive_exact(&mut [0])
        }));
    }
    std::thread::sleep(Duration::from_millis(500));
    let (_, beside) = times()?;
    for thread in threads {
        let _ = thread.join();
    }
    Ok(vec![
        ("round trip, p99 us, just before".into(), alone),
        ("round trip beside 8 readers of 1 B/s, p99 us".into(), beside),
    ])
}
