//! The same tests as in `main.rs`, with a split agent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod agent;
mod client;
mod connect;
mod ends;
mod grants;
mod openers;
mod refusals;
mod relay;
mod sessions;
mod simple;
mod streams;

use std::time::Duration;

const SPLIT: bool = true;

/// How long anything may take that should take a moment.
const SOON: Duration = Duration::from_secs(60);

/// What a test waits for, or a failure that names it.
async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, event).await.unwrap_or_else(|_| panic!("nothing after {SOON:?}: {what}"))
}
