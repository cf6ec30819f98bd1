//! What both programs need from the system: settings, secrets, logs, signals, metrics, certificates, NATS. It imports
//! only `protocol` and `net`.

pub mod arguments;
pub mod audit;
pub mod certificate;
pub mod children;
pub mod columns;
pub mod config;
pub mod counted;
pub mod credential;
pub mod descriptors;
pub mod exit;
pub mod lifecycle;
pub mod listen;
pub mod logging;
pub mod loopback;
pub mod memory;
pub mod metrics;
pub mod name;
pub mod nats;
pub mod network;
pub mod notify;
pub mod passed;
pub mod pollable;
pub mod printable;
pub mod secret;
#[cfg(test)]
mod testing;
pub mod throttle;
pub mod tls;
pub mod unit;

/// The version as the programs print it, with the commit if it is known (build.rs).
pub const VERSION: &str = env!("STREAM_VERSION");
