//! `[relay]`: the relays that may be dialled.

use std::path::PathBuf;

use serde::Deserialize;

use service::config::{ConfigError, Loaded};
use service::loopback::is_loopback;
use service::secret::resolve_path;
use websocket::address::Address;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRelay {
    allow: Vec<String>,
    allow_plaintext: bool,
    ca_file: Option<String>,
    pub(super) key_file: Option<String>,
}

impl RawRelay {
    /// The URLs, without a slash at the end.
    pub(super) fn check(&self, loaded: &Loaded) -> Result<Vec<String>, ConfigError> {
        let wrong = |why: String| loaded.error_at(&["relay", "allow"], why);
        if self.allow.is_empty() {
            let error = wrong(
                "is needed: the relays that may be dialled, such as [\"wss://relay.example.com\"]".into(),
            );
            return Err(error.corrected_by(Some("[relay]"), "allow = [\"wss://relay.example.com\"]"));
        }
        for url in &self.allow {
            if let Some(likely) = likely_relay(url) {
                return Err(wrong(format!(
                    "\"{url}\" does not begin with wss:// (or ws://): write \"{likely}\""
                )));
            }
            let address = Address::parse_relay(url).map_err(|error| wrong(format!("\"{url}\": {error}")))?;
            if !address.tls && !is_loopback(&address.host) && !self.allow_plaintext {
                return Err(wrong(format!(
                    "{url} is not encrypted: use wss://, or set relay.allow_plaintext = true if the way is safe"
                )));
            }
        }
        Ok(self.allow.iter().map(|url| url.trim_end_matches('/').to_owned()).collect())
    }

    /// The file of the private authority that relays' certificates are from.
    pub(super) fn ca_file(&self, loaded: &Loaded) -> Result<Option<PathBuf>, ConfigError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        resolve_path(path).map(Some).map_err(|error| loaded.error_at(&["relay", "ca_file"], error))
    }
}

/// What was probably meant by something that is not the URL of a websocket.
fn likely_relay(url: &str) -> Option<String> {
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Some(format!("wss://{rest}")),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Some(format!("ws://{rest}")),
        None if url.is_empty() => Some("wss://relay.example.com".into()),
        None => Some(format!("wss://{url}")),
        Some(_) => None,
    }
}
