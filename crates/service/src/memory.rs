//! Returns unused memory to the system, so that a program that once had a thousand streams does not keep their memory
//! for years. And hides the memory from other processes.

use nix::libc;

/// Larger blocks, such as the buffers of busy streams, are mapped one by one, and unmapped when freed. glibc's own
/// threshold grows with use, and it keeps freed blocks below it.
const MAPPED: libc::c_int = 64 * 1024;

/// Call it once, before anything else runs.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn map_large_blocks() {
    // SAFETY: sets a number in the allocator; no other thread runs yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED) };
}

/// Returns the memory that the allocator keeps for later. For the time after a peak: it is too slow for each stream.
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

/// Hides the memory, environment and descriptors of this process from other processes of its user, such as programs of
/// targets (`PR_SET_DUMPABLE` of prctl(2)): they could read keys, and what users type. Root can still read them.
/// Programs that it starts are not hidden. There are no core dumps either.
pub fn close_to_others() {
    // The manual lists no reason for it to fail. If it does, nothing else hides the memory.
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        eprintln!("remark: memory stays open to processes of the same user: {error}");
    }
}
