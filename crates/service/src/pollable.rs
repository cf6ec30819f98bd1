//! Descriptors that the async runtime waits for: terminals, inotify, standard input and output.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime.
///
/// # Errors
/// If epoll(7) cannot wait for it, as for regular files.
#[allow(unsafe_code)]
pub fn pollable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays the same open descriptor until it is dropped.
    unsafe { AsyncFd::register(descriptor) }.map_err(io::Error::from)
}
