//! What is asked of a chain, one file a question. Every answer is a list of named numbers.

pub mod age;
pub mod bulk;
pub mod check;
pub mod echo;
pub mod idle;
pub mod setup;
pub mod small;
pub mod stalled;

use std::thread;
use std::time::{Duration, Instant};

use crate::target::Order;
use crate::wire::Wire;

/// A measure and its value.
pub type Answer = (String, f64);

/// Percentile of sorted values.
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * percent / 100.0).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Median and 99th percentile of what was measured, in the unit it came in.
pub fn p50_p99(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (percentile(&values, 50.0), percentile(&values, 99.0))
}

/// A wire with an order given.
pub fn ordered(mut wire: Wire, order: Order) -> anyhow::Result<Wire> {
    wire.send(&order.encode())?;
    Ok(wire)
}

/// Runs until the deadline on a thread of its own, and ends by dropping the wire.
pub fn until<T: Send + 'static>(
    deadline: Instant,
    mut wire: Wire,
    mut step: impl FnMut(&mut Wire) -> std::io::Result<T> + Send + 'static,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while Instant::now() < deadline {
            if step(&mut wire).is_err() {
                return;
            }
        }
    })
}

/// Waits until a value has not moved by more than a hundredth for a second: buffers are full, or empty.
pub fn settled(limit: Duration, mut value: impl FnMut() -> u64) -> u64 {
    let deadline = Instant::now() + limit;
    let mut last = value();
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = value();
        if now.abs_diff(last) <= now / 100 || Instant::now() > deadline {
            return now;
        }
        last = now;
    }
}
