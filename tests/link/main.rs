//! The websocket layer against tokio-tungstenite as oracle, over transports that cut everything to pieces,
//! hostile transports and the clock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bridge;
mod dial;
mod failed;
mod frames;
mod pair;
mod pumps;
mod random;
mod reader;
mod sizes;
mod support;
mod writer;
