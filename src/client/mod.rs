//! The client's side: `stream-relay open` gets a URL from a platform and bridges local tools through the relay.

mod api;
mod carry;
mod door;
mod ending;
mod escape;
mod key;
mod listen;
mod local;
mod modes;
pub mod open;
mod terminal;
#[cfg(test)]
mod testing;
mod url;
mod view;
mod watched;
mod words;
