//! How long a new stream takes, from the client's connect to the first byte from the target; and how many a second.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use super::{Answer, ordered, p50_p99};
use crate::account::cpu;
use crate::chain::Chain;
use crate::target::{Job, Order};
use crate::wire::{Door, Wire};

/// Clients that connect at the same time when the rate is asked for.
const AT_ONCE: usize = 32;

/// One after the other: the time of each.
pub fn one_by_one(chain: &Chain, count: usize) -> anyhow::Result<Vec<Answer>> {
    let mut times = vec![];
    for door in chain.doors(count)? {
        let begun = Instant::now();
        first_byte(&door)?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let (p50, p99) = p50_p99(times);
    let mut answers = vec![("set-up, p50 us".into(), p50), ("set-up, p99 us".into(), p99)];
    if let Some((platform, target)) = chain.platform() {
        let mut times = vec![];
        for _ in 0..count {
            let prepared = platform.prepare(target)?;
            let begun = Instant::now();
            let doors = platform.start(vec![prepared])?;
            first_byte(&doors[0])?;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        let (p50, p99) = p50_p99(times);
        answers.push(("whole session with its command over NATS, p50 us".into(), p50));
        answers.push(("whole session with its command over NATS, p99 us".into(), p99));
    }
    Ok(answers)
}

/// As many as will go.
pub fn rate(chain: &Chain, count: usize) -> anyhow::Result<Vec<Answer>> {
    let doors = chain.doors(count)?;
    let (seconds, used) = timed(chain, || connect_all(doors))?;
    let mut answers = vec![("clients linked a second".into(), count as f64 / seconds)];
    if !chain.roles.is_empty() {
        answers.push(("client linked, CPU us".into(), used * 1e6 / count as f64));
    }
    if let Some((platform, target)) = chain.platform() {
        let prepared = (0..count).map(|_| platform.prepare(target)).collect::<anyhow::Result<Vec<_>>>()?;
        let (seconds, used) = timed(chain, || connect_all(platform.start(prepared)?))?;
        answers.push(("whole sessions a second".into(), count as f64 / seconds));
        answers.push(("whole session, CPU us".into(), used * 1e6 / count as f64));
    }
    Ok(answers)
}

fn timed(chain: &Chain, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<(f64, f64)> {
    let (begun, used) = (Instant::now(), cpu(&chain.roles));
    work()?;
    Ok((begun.elapsed().as_secs_f64(), cpu(&chain.roles) - used))
}

fn connect_all(doors: Vec<Door>) -> anyhow::Result<()> {
    let doors = Mutex::new(doors.into_iter());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        // The lock is not held while connecting.
                        let door = doors.lock().expect("no client panics").next();
                        let Some(door) = door else { return Ok(()) };
                        first_byte(&door)?;
                    }
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().expect("no client panics"))
    })
}

fn first_byte(door: &Door) -> anyhow::Result<()> {
    let mut wire = ordered(Wire::open(door)?, Order::of(Job::Echo))?;
    wire.send(&[1])?;
    Ok(wire.receive_exact(&mut [0])?)
}
