//! How long a message is on its way there and back: alone, beside other streams, in several sizes.

use std::time::{Duration, Instant};

use super::{Answer, ordered, p50_p99, until};
use crate::chain::Chain;
use crate::target::{Job, Order};
use crate::wire::Wire;

/// What else goes on in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// A stream of 100 MB/s to another client.
    Paced,
    /// A stream to another client that takes all there is.
    Saturating,
}

const SIZES: [usize; 6] = [64, 1_000, 16_000, 64_000, 128_000, 200_000];

/// Round trips of 64 bytes.
pub fn run(chain: &Chain, beside: Beside, window: Duration) -> anyhow::Result<Vec<Answer>> {
    let wire = ordered(chain.open()?, Order::of(Job::Echo))?;
    let deadline = Instant::now() + window + Duration::from_millis(300);
    let name = match beside {
        Beside::Nothing => "round trip alone",
        Beside::Paced => "round trip beside 100 MB/s",
        Beside::Saturating => "round trip beside a saturating stream",
    };
    let other = if beside == Beside::Nothing {
        None
    } else {
        let rate = if beside == Beside::Paced { 100_000_000 } else { 0 };
        let order = Order { rate, block: 64 * 1024, ..Order::of(Job::Source) };
        let wire = ordered(chain.open()?, order)?;
        Some(until(deadline, wire, |wire| match wire.receive()?.len() {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }))
    };
    std::thread::sleep(Duration::from_millis(100));
    let (p50, p99) = p50_p99(times(wire, 64, window)?);
    if let Some(thread) = other {
        let _ = thread.join();
    }
    Ok(vec![(format!("{name}, p50 us"), p50), (format!("{name}, p99 us"), p99)])
}

/// Round trips of several sizes, each as one message.
pub fn sizes(chain: &Chain, window: Duration) -> anyhow::Result<Vec<Answer>> {
    let mut answers = vec![];
    for size in SIZES {
        let wire = ordered(chain.open()?, Order::of(Job::Echo))?;
        let (p50, p99) = p50_p99(times(wire, size, window)?);
        answers.push((format!("echo of {size} B, p50 us"), p50));
        answers.push((format!("echo of {size} B, p99 us"), p99));
    }
    Ok(answers)
}

/// Round trips in microseconds, after a few that warm up.
pub fn times(mut wire: Wire, size: usize, window: Duration) -> anyhow::Result<Vec<f64>> {
    let encoded = wire.encoded(&vec![0x5a; size], size);
    let mut back = vec![0; size];
    let mut times = vec![];
    for _ in 0..5 {
        wire.send_encoded(&encoded)?;
        wire.receive_exact(&mut back)?;
    }
    let begun = Instant::now();
    while begun.elapsed() < window {
        let sent = Instant::now();
        wire.send_encoded(&encoded)?;
        wire.receive_exact(&mut back)?;
        times.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}
