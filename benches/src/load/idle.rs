//! What a session costs in memory while nothing moves, before and after bytes have moved in it.

use std::time::Duration;

use super::{Answer, settled};
use crate::account::tcp_memory;
use crate::chain::Chain;
use crate::target::{Job, Order};
use crate::wire::Wire;

/// Bytes of the burst in each session.
const BURST: u64 = 256 * 1024;

/// How long programs have to give memory back when everybody has left.
const AFTER: Duration = Duration::from_secs(12);

/// Slopes between `few` and `many` sessions, so that what a program has anyway does not count.
pub fn run(chain: &Chain, few: usize, many: usize) -> anyhow::Result<Vec<Answer>> {
    let rss = || -> Vec<u64> { chain.roles.iter().map(|role| role.used().rss).collect() };
    let mut answers: Vec<Answer> = chain
        .roles
        .iter()
        .zip(rss())
        .map(|(role, rss)| (format!("{} before, MiB", role.name), mib(rss)))
        .collect();
    let mut wires = vec![];
    grow(chain, &mut wires, few)?;
    let kernel_before = settled(Duration::from_secs(5), tcp_memory);
    let before = rss();
    grow(chain, &mut wires, many)?;
    let kernel = settled(Duration::from_secs(5), tcp_memory);
    let sessions = (many - few) as f64;
    let slope = |before: u64, after: u64| (after as f64 - before as f64) / sessions / 1024.0;
    let fresh = rss();
    for ((role, before), fresh) in chain.roles.iter().zip(&before).zip(&fresh) {
        answers.push((format!("idle session, {}, KiB", role.name), slope(*before, *fresh)));
    }
    answers.push(("idle session, kernel TCP memory, KiB".into(), slope(kernel_before, kernel)));
    // Some at a time, as users do it; all of them in a few seconds.
    for group in wires.chunks_mut(64) {
        let order = Order { limit: BURST, block: BURST as u32, ..Order::of(Job::Source) };
        for wire in &mut *group {
            wire.send(&order.encode())?;
        }
        let mut burst = vec![0; BURST as usize];
        for wire in group {
            wire.receive_exact(&mut burst)?;
            wire.rest();
        }
    }
    settled(Duration::from_secs(20), || rss().iter().sum());
    for ((role, before), after) in chain.roles.iter().zip(&before).zip(&rss()) {
        answers.push((format!("idle session after 256 KiB, {}, KiB", role.name), slope(*before, *after)));
    }
    drop(wires);
    // Programs that tidy up do it when they have nothing else to do.
    std::thread::sleep(AFTER);
    for (role, rss) in chain.roles.iter().zip(rss()) {
        answers.push((format!("{} when all have left, MiB", role.name), mib(rss)));
    }
    Ok(answers)
}

fn grow(chain: &Chain, wires: &mut Vec<Wire>, to: usize) -> anyhow::Result<()> {
    // In portions: a prepared session waits for its client for a limited time.
    while wires.len() < to {
        for door in chain.doors((to - wires.len()).min(1000))? {
            wires.push(Wire::open(&door)?);
        }
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
