//! Computes what targets need beyond the sandbox of the shipped units. Reads files and their owners on this host.
//!
//! For the unsplit agent, this is a drop-in for its service. For the split one, each target with needs gets a unit of its
//! own, so that nobody else has what it needs.

mod drop_in;
mod needs;
mod units;

pub use crate::support::wants::{OPENER_USER, SERVICE_USER};
pub use drop_in::DropIn;
pub use units::{UnitChange, Units, WriteError};
