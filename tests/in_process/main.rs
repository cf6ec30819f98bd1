//! A relay and an agent in this process, and clients that speak to them: the main behaviour, without root, services or
//! programs. Commands reach the agent where NATS would bring them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod agent;
mod client;
mod connect;
mod ends;
mod openers;
mod pages;
mod refusals;
mod relay;
mod sessions;
mod simple;
mod streams;

use std::time::Duration;

/// Whether the agent is split: openers and cells open its targets.
const SPLIT: bool = false;

/// How long anything may take that should take a moment.
const SOON: Duration = Duration::from_secs(60);

/// What a test waits for, or a failure that names it.
async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, event).await.unwrap_or_else(|_| panic!("nothing after {SOON:?}: {what}"))
}
