//! Logins and commands stay inside TLS, whatever the broker or somebody on the way says.
