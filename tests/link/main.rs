//! The frame layer and the pumps against tokio-tungstenite as oracle, over transports that cut everything to pieces.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod frames;
mod pumps;
mod random;
