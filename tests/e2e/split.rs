//! The tests of `main.rs` that open a kind of target, with a split agent: systemd starts an opener for each session, and a cell
//! where the target needs one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
#[path = "../world/mod.rs"]
mod world;

#[allow(dead_code, reason = "the other end-to-end tests use the rest")]
mod bulk;
mod consoles;
mod containers;
mod logs;
mod serial;

const SPLIT: bool = true;
