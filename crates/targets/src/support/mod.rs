//! The parts that several kinds use.

pub(crate) mod access;
pub(crate) mod candidate;
pub(crate) mod cell;
pub(crate) mod display;
pub(crate) mod inside;
pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod opened;
pub(crate) mod params;
pub(crate) mod passing;
pub(crate) mod paths;
pub(crate) mod pattern;
pub(crate) mod processes;
pub(crate) mod program;
pub(crate) mod qemu;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod tasks;
pub(crate) mod uuid;
pub(crate) mod value;
pub(crate) mod wants;
