//! Memory goes back to the system when it is not used: a program that runs for years, and once had a
//! thousand streams, must not look as if it still had them.

use nix::libc;

/// Blocks of this size and more are mapped one by one and unmapped when freed: the buffers of busy streams.
/// glibc's own threshold grows with use, and what lies below it stays.
const MAPPED: libc::c_int = 64 * 1024;

/// To be called once, before anything else runs.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn map_large_blocks() {
    // SAFETY: sets a number in the allocator; no other thread runs yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED) };
}

/// Gives back what the allocator keeps for later: after a peak, not on the way of every byte.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn give_back() {
    // SAFETY: takes the allocator's own locks; every live block stays where it is.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn map_large_blocks() {
    let _ = MAPPED;
}

/// Other C libraries give memory back by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

/// Closes the memory, environment and descriptors of this process to other processes of its user, such as programs of
/// targets: they could read keys, and what others type (`PR_SET_DUMPABLE` of prctl(2)). Programs that it starts are
/// not concerned, and root may still look. Core dumps are not written either.
pub fn close_to_others() {
    // It fails for no reason that the manual knows; what it keeps out is then kept out by nothing.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("remark: memory stays open to processes of the same user: {error}");
    }
}
