//! Files of the state directory: written whole or not at all, and only for the relay's user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces the file `name` of `dir`.
///
/// # Errors
/// What the system says. The old file is still there then.
pub(super) fn write(dir: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let new = prepare(dir, name, contents)?;
    fs::rename(new, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// Writes the contents beside the file, from where it can be renamed. Only one thread may do so at a time.
///
/// # Errors
/// What the system says.
pub(super) fn prepare(dir: &Path, name: &str, contents: &[u8]) -> io::Result<std::path::PathBuf> {
    let new = dir.join(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(contents)?;
    file.sync_all()?;
    Ok(new)
}
