//! Screens of virtual machines without a port, through the real libvirt and QEMU's real monitor.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod daemon;
mod libvirt;
mod qmp;
mod split;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeMap;

use protocol::mode::Mode;
use targets::{OpenError, Opened, Shared, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::world::SOON;

/// Whether the agents of these tests are split.
const SPLIT: bool = false;

/// A target from the text of its table.
fn target(text: &str) -> Target {
    Target::from_table("test", text.parse().unwrap()).unwrap()
}

/// Opens a target that has its parameters.
async fn open(target: &Target, params: &[(&str, &str)]) -> Result<Opened, OpenError> {
    let params: BTreeMap<_, _> =
        params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let bound = target.bind(&params).unwrap();
    timeout(SOON, bound.open(Mode::Rw, None, &Shared::default())).await.expect("took too long")
}

/// Why it does not open.
async fn refusal(target: &Target, params: &[(&str, &str)]) -> String {
    open(target, params).await.err().expect("it opened").message
}

async fn read<const N: usize>(opened: &mut Opened) -> [u8; N] {
    let mut bytes = [0; N];
    timeout(SOON, opened.output.read_exact(&mut bytes)).await.expect("took too long").unwrap();
    bytes
}

async fn write(opened: &mut Opened, bytes: &[u8]) {
    opened.input.as_mut().unwrap().write_all(bytes).await.unwrap();
}

/// Continues until the VNC server has listed its authentication methods.
async fn greets_as_vnc(opened: &mut Opened) -> Vec<u8> {
    assert_eq!(&read::<12>(opened).await, b"RFB 003.008\n");
    write(opened, b"RFB 003.008\n").await;
    let [count] = read(opened).await;
    let mut offered = Vec::new();
    for _ in 0..count {
        let [way] = read(opened).await;
        offered.push(way);
    }
    offered
}

/// Goes through SPICE's link messages, as its main channel does.
async fn links_as_spice(opened: &mut Opened) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    // The connection is new; then the channel's type (main) and number, and one word of common capabilities.
    let body = [words(&[0]), vec![1, 0], words(&[1, 0, 18, 9])].concat();
    let length = u32::try_from(body.len()).unwrap();
    write(opened, &[b"REDQ".to_vec(), words(&[2, 2, length]), body].concat()).await;
    let answer: [u8; 20] = read(opened).await;
    assert_eq!((&answer[..4], &answer[4..8]), (&b"REDQ"[..], &[2, 0, 0, 0][..]));
    assert_eq!(answer[16..], [0; 4], "a SPICE error");
}

/// Waits until the other side closes.
async fn ends(mut opened: Opened) {
    let mut rest = Vec::new();
    let _ = timeout(SOON, opened.output.read_to_end(&mut rest)).await.expect("it goes on");
}
