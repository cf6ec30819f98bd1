//! The connection to NATS, as agent and platform both need it: settings, a login that is read again for each connect,
//! and log lines that say what to do.

mod addresses;
mod connect;
mod event;
mod failure;
mod failure_log;
mod login;
mod probe;
mod read_monitor;
mod rotation;
mod selector;
mod servers;
mod settings;
mod trust;

pub use connect::Unreachable;
pub use event::explain;
pub use failure::ConnectFailure;
pub use login::key_pair;
pub use probe::ServerProbe;
pub use read_monitor::ReadMonitor;
pub use settings::{Commands, Nats, RawNats};
