//! What both long-running programs need from the system: settings, secrets, logs, signals,
//! metrics, certificates. Knows only the words of [`crate::protocol`].

pub mod audit;
pub mod certificate;
pub mod config;
pub mod credential;
pub mod descriptors;
pub mod exit;
pub mod lifecycle;
pub mod listen;
pub mod logging;
pub mod loopback;
pub mod memory;
pub mod metrics;
pub mod nats;
pub mod network;
pub mod notify;
pub mod passed;
pub mod pollable;
pub mod printable;
pub mod secret;
pub mod throttle;
pub mod tls;
pub mod unit;
