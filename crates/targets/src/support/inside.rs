//! Checks the arguments of programs in containers, and the environment of programs.

use std::collections::BTreeMap;

use crate::support::value::{TargetConfigError, without_nul};

/// Checks a program in a container and its arguments.
pub(crate) fn argv_inside(argv: Vec<String>) -> Result<Vec<String>, TargetConfigError> {
    argv.iter().try_for_each(|argument| without_nul("argv", argument.as_bytes()))?;
    match argv.first() {
        Some(program) if program.starts_with('/') => Ok(argv),
        Some(program) => Err(TargetConfigError::at("argv", format!("\"{program}\" is not an absolute path"))),
        None => Err(TargetConfigError::at("argv", "is empty: it begins with the program's absolute path")),
    }
}

/// Refuses what an environment cannot contain.
pub(crate) fn check_env(env: &BTreeMap<String, String>) -> Result<(), TargetConfigError> {
    for (name, value) in env {
        if name.is_empty() || name.contains('=') {
            return Err(TargetConfigError::at("env", format!("\"{name}\" cannot name a variable")));
        }
        without_nul("env", name.as_bytes())?;
        without_nul("env", value.as_bytes())?;
    }
    Ok(())
}
