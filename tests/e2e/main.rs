//! The real binaries, a real nats-server and real clients, end to end.
//!
//! Every test has a world of its own: a loopback address of its own, so that ports never clash, and a folder
//! that goes with it. Nothing here sleeps to synchronise: it waits for events, with a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod netns;
mod world;

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
