//! The types of the wire contract (`docs/protocol.md`): plain data, no tokio, no sockets.

// Other programs implement this, so each name has its unit, its source or its meaning. Elsewhere a comment that
// would only repeat a name is omitted.
#![warn(missing_docs)]

pub mod audit;
pub mod close;
pub mod command;
pub mod control;
pub mod end;
pub mod failure;
pub mod grant;
pub mod headers;
pub mod host;
pub mod issuers;
pub mod mode;
pub mod name;
pub mod origin;
pub mod plain;
pub mod profile;
pub mod proof;
pub mod signing;
#[cfg(test)]
mod testing;
pub mod token;
pub mod viewer_file;
