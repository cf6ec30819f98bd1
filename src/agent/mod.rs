//! The agent: listens on nothing, takes commands, dials out, and links local targets.

pub mod target;
