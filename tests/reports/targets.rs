//! Local targets: the allowlist decides what can be read, opened and run.
