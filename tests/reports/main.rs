//! What users of this and of similar programs have reported, one small test for each fault: the real binaries, a real
//! nats-server and the smallest input that showed it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
#[path = "../world/mod.rs"]
mod world;

mod addresses;
mod bus;
mod ends;
mod files;
mod first;
mod fleet;
mod host_setup;
mod intake;
mod journal;
mod keys;
mod nats_tls;
mod networks;
mod open;
mod orphans;
mod proxies;
mod sessions;
mod targets;
mod terminals;
mod wire;
mod words;

/// Whether the agents of these tests are split.
const SPLIT: bool = false;
