//! Local targets: what a host's owner allows, and how each kind is opened.
//!
//! A kind is a file in `kinds/` and two lines in `kinds/mod.rs`. An opened target consists of output, input and perhaps
//! a process. Nothing here knows NATS or the relay.

mod discover;
mod kind;
mod kinds;
mod registry;
pub mod sandbox;
mod support;
mod table;
mod target;
#[cfg(test)]
mod testing;

pub use discover::{Discovered, discover};
pub use support::candidate::{Candidate, Group};
pub use support::cell::Cell;
pub use support::opened::{Ask, Asked, Input, OpenError, Opened, Output, Process, Window};
pub use support::params::ParamError;
pub use support::shared::Shared;
pub use support::value::TargetConfigError;
pub use target::{Bound, Target};
