//! As many bytes as will go through, one way: rate, and processor time of the chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Answer, ordered, until};
use crate::account::cpu;
use crate::chain::Chain;
use crate::target::{Job, Order, SUNK};

/// Before the window: slow start, and buffers that grow.
const WARM: Duration = Duration::from_millis(300);

/// A frame from the client: what a browser or `open` sends at once.
const FRAME: usize = 64 * 1024;

/// Both ways, `streams` at once, measured over `window`.
pub fn run(chain: &Chain, streams: usize, window: Duration) -> anyhow::Result<Vec<Answer>> {
    let mut answers = vec![];
    for job in [Job::Source, Job::Sink] {
        let deadline = Instant::now() + WARM + window + Duration::from_millis(100);
        let received = Arc::new(AtomicU64::new(0));
        let mut threads = vec![];
        for _ in 0..streams {
            let wire = ordered(chain.open()?, Order::of(job))?;
            threads.push(match job {
                Job::Source => {
                    let received = received.clone();
                    until(deadline, wire, move |wire| {
                        let n = wire.receive()?.len();
                        received.fetch_add(n as u64, Ordering::Relaxed);
                        if n == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
                    })
                }
                _ => {
                    let encoded = wire.encoded(&vec![0x5a; 4 * FRAME], FRAME);
                    until(deadline, wire, move |wire| wire.send_encoded(&encoded))
                }
            });
        }
        let moved = || {
            if job == Job::Source { received.load(Ordering::Relaxed) } else { SUNK.load(Ordering::Relaxed) }
        };
        thread::sleep(WARM);
        let (begun, bytes, used) = (Instant::now(), moved(), cpu(&chain.roles));
        thread::sleep(window);
        let (seconds, bytes, used) =
            (begun.elapsed().as_secs_f64(), (moved() - bytes) as f64, cpu(&chain.roles) - used);
        for thread in threads {
            let _ = thread.join();
        }
        let way = if job == Job::Source { "to client" } else { "to host" };
        answers.push((format!("bulk {streams} {way}, MB/s"), bytes / seconds / 1e6));
        if !chain.roles.is_empty() {
            answers.push((format!("bulk {streams} {way}, CPU s/GB"), used / bytes * 1e9));
        }
    }
    Ok(answers)
}
