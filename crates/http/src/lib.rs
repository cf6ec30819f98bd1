//! HTTP/1.1: the one client, over any connection, and the server's half behind a feature of its own. Knows neither
//! relays nor websockets.

pub mod client;
#[cfg(feature = "server")]
pub mod server;
pub mod upgrade;
