//! Consoles, screens and logs of machines that have no open port.
//!
//! `stream-agent` runs on a host, listens on nothing, and dials out to `stream-relay` when its
//! platform says so; the relay links that connection with the client that holds the token.
//! Data moves down each line and never back:
//!
//! ```text
//! agent:    NATS bytes -> Command -> Grant (verified) -> Permit | Refusal -> dial relay + park
//!           -> linked -> open target -> pump -> Outcome -> Record
//! relay:    TcpStream -> request -> knock (role, token hash) -> parked host | claiming client
//!           -> pump -> Outcome -> Record
//! platform: HTTP request -> user -> policy -> token + grant -> NATS request -> URL
//! ```
//!
//! | layer | what it knows |
//! |---|---|
//! | [`protocol`] | words: plain data, no tokio, no sockets |
//! | [`link`] | bytes in motion: websocket frames, pumps, pings; knows only words |
//! | [`daemon`] | what both long-running programs need from the system |
//! | [`agent`], [`relay`], [`platform`] | the three parts; they never import one another |
//! | `src/bin/` | arguments, settings, run, exit code |
//!
//! `tests/layers.rs` holds every `use crate::` against this table.

pub mod agent;
pub mod client;
pub mod daemon;
pub mod link;
pub mod platform;
pub mod protocol;
pub mod relay;
