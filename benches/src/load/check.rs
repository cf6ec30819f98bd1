//! Whether a chain carries bytes right: noise both ways, compared by SHA-256.

use anyhow::{bail, ensure};
use ring::digest;

use super::ordered;
use crate::chain::Chain;
use crate::target::{Job, Noise, Order};

/// Bytes each way: enough that every buffer was full once, and no multiple of anything.
const LEN: u64 = (8 << 20) + 4321;

pub fn run(chain: &Chain) -> anyhow::Result<()> {
    let mut wire = ordered(chain.open()?, Order { limit: LEN, ..Order::of(Job::Check) })?;
    let mut noise = Noise(7);
    let mut bytes = vec![0; LEN as usize];
    noise.fill(&mut bytes);
    let mut at = 0;
    // Sizes at every border of the frame header.
    for size in [1, 125, 126, 127, 65_535, 65_536, 200_000].into_iter().cycle() {
        if at == bytes.len() {
            break;
        }
        let end = bytes.len().min(at + size);
        wire.send(&bytes[at..end])?;
        at = end;
    }
    let mut said = [0; 32];
    wire.receive_exact(&mut said)?;
    ensure!(said == digest::digest(&digest::SHA256, &bytes).as_ref(), "bytes to the target were changed");
    wire.receive_exact(&mut bytes)?;
    wire.receive_exact(&mut said)?;
    if said != digest::digest(&digest::SHA256, &bytes).as_ref() {
        bail!("bytes from the target were changed");
    }
    Ok(())
}
