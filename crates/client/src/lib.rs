//! The client's side: `stream-relay open` gets a URL from a platform and bridges local tools through the relay;
//! `sign-in-link` gets a link for a browser.

mod acceptor;
mod api;
mod arguments;
mod bridge;
mod console;
mod display;
mod escape;
mod listen;
mod log_options;
pub mod open;
mod opener;
mod outcome;
mod page;
mod peer_watch;
mod platform;
mod remedy;
mod screen;
mod session_key;
pub mod sign_in_link;
mod stdio;
mod terminal;
#[cfg(test)]
mod testing;
mod url_file;
mod viewer;
mod viewer_file;
mod watched;
