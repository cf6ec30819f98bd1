//! The real programs, a real nats-server and real clients, end to end.
//!
//! Each test has its own world: its own loopback address, so that ports never clash, and its own folder.
//! No test sleeps to synchronise: each waits for events, with a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod netns;
#[path = "../world/mod.rs"]
mod world;

#[cfg(feature = "slow")]
mod api;
mod booted;
mod bulk;
mod consoles;
mod containers;
mod cut;
mod ends;
mod flow;
mod grants;
mod limits;
mod listening;
mod load;
mod logs;
mod outages;
mod passed;
mod platforms;
mod proxies;
mod serial;
mod service;
mod settings;
mod tools;

/// Whether the agents of these tests are split.
const SPLIT: bool = false;
