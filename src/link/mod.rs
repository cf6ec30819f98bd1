//! Bytes in motion: websocket frames, pumps, pings and the ways to dial and to accept.
//! Knows only the words of [`crate::protocol`]; never what a session, a target or a policy is.

pub mod backoff;
pub mod bridge;
pub mod buffer;
pub mod connect;
pub mod credit;
pub mod dial;
pub mod frame;
pub mod leg;
pub mod pair;
pub mod proxy;
pub mod pulse;
pub mod reader;
pub mod socket;
pub mod upgrade;
pub mod writer;
