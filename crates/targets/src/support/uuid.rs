//! Parses the UUID of a virtual machine.

use uuid::Uuid;

/// # Errors
/// What is wrong, with the form that is right.
pub(crate) fn parse_uuid(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|_| format!("\"{text}\" is not a UUID: write it as `virsh domuuid` does"))
}
