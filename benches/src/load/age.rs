//! How old data is when it comes out of a slow link: a target that always has more, a client behind 20 Mbit/s.

use std::time::{Duration, Instant};

use super::{Answer, ordered, percentile};
use crate::chain::Chain;
use crate::slow_link::SlowLink;
use crate::target::{Job, Order, now};

/// Bytes of a block, each with the time of its writing.
const BLOCK: usize = 4096;

pub fn run(chain: &Chain, link: &SlowLink, window: Duration) -> anyhow::Result<Vec<Answer>> {
    let doors = chain.doors(1)?;
    let (mut ages, rate) = link.behind(|| {
        let wire = crate::wire::Wire::open(&doors[0])?;
        let mut wire = ordered(wire, Order { block: BLOCK as u32, ..Order::of(Job::Source) })?;
        let mut block = vec![0; BLOCK];
        let mut ages = vec![];
        let (begun, mut bytes) = (Instant::now(), 0);
        while begun.elapsed() < window {
            wire.receive_exact(&mut block)?;
            // The first third fills the buffers.
            if begun.elapsed() > window / 3 {
                let written = u64::from_be_bytes(block[..8].try_into()?);
                ages.push(now().saturating_sub(written) as f64 / 1e6);
                bytes += BLOCK;
            }
        }
        Ok((ages, bytes as f64 / (window * 2 / 3).as_secs_f64()))
    })?;
    ages.sort_by(f64::total_cmp);
    Ok(vec![
        ("age of data behind 20 Mbit/s, p50 ms".into(), percentile(&ages, 50.0)),
        ("rate behind 20 Mbit/s, Mbit/s".into(), rate * 8.0 / 1e6),
    ])
}
