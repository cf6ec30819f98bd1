//! One websocket connection: frames, keepalive, and the ways to dial and to accept.
//! Knows only the words of [`protocol`]; never what a session, a target or a policy is.

pub mod address;
pub mod buffer;
pub mod connect;
pub mod connection;
pub mod dial;
pub mod error;
pub mod frame;
pub mod keepalive;
mod parser;
pub mod proxy;
pub mod reader;
pub mod upgrade;
mod utf8;
pub mod writer;
