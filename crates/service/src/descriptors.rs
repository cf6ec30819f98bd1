//! The limit of open files and sockets.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::debug;

/// Raises the limit to the hard limit, and returns it. Shells and containers start programs with 1024 because of
/// select(2), which is not used here.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match limit {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        Err(error) => {
            debug!("limit of open files: {error}");
            1024
        }
    }
}
