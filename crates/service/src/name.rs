//! The program's name.

/// The name of this program, and that of its unit, user and folder in /etc.
pub fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
