//! Small messages one after the other: processor time of the chain for a million of 128 bytes.

use std::thread;
use std::time::{Duration, Instant};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Answer, ordered, until};
use crate::account::cpu;
use crate::chain::Chain;
use crate::target::{Job, Order, SUNK};

const SIZE: usize = 128;

/// Frames that the client hands to its kernel at once: the chain is measured, not the generator's system calls.
const AT_ONCE: usize = 64;

pub fn run(chain: &Chain, window: Duration) -> anyhow::Result<Vec<Answer>> {
    let mut answers = vec![];
    let warm = Duration::from_millis(200);
    for job in [Job::Sink, Job::Source] {
        let deadline = Instant::now() + warm + window + Duration::from_millis(100);
        let order = Order { block: SIZE as u32, ..Order::of(job) };
        let wire = ordered(chain.open()?, order)?;
        let received = Arc::new(AtomicU64::new(0));
        let thread = if job == Job::Sink {
            let encoded = wire.encoded(&vec![0x5a; SIZE * AT_ONCE], SIZE);
            until(deadline, wire, move |wire| wire.send_encoded(&encoded))
        } else {
            let received = received.clone();
            until(deadline, wire, move |wire| {
                let n = wire.receive()?.len();
                received.fetch_add(n as u64, Ordering::Relaxed);
                if n == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            })
        };
        let moved = || {
            if job == Job::Source { received.load(Ordering::Relaxed) } else { SUNK.load(Ordering::Relaxed) }
        };
        thread::sleep(warm);
        let (bytes, used) = (moved(), cpu(&chain.roles));
        thread::sleep(window);
        let (bytes, used) = ((moved() - bytes) as f64, cpu(&chain.roles) - used);
        let _ = thread.join();
        let way = if job == Job::Source {
            "writes of 128 B at the target"
        } else {
            "frames of 128 B from the client"
        };
        if !chain.roles.is_empty() {
            answers.push((format!("{way}, CPU s/million"), used / (bytes / SIZE as f64) * 1e6));
        }
    }
    Ok(answers)
}
