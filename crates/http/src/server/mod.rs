//! The server's half: from a socket that listens to a response. The only paths that it knows are those of [`admin`].

pub mod admin;
pub mod assets;
pub mod connection;
pub mod listener;
pub mod probe;
pub mod quality;
pub mod request;
pub mod response;
pub mod tls;
