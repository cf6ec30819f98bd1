//! The `[platform]` section: what is written ([`Raw`]) and what was checked ([`Settings`]).

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::daemon::config::{ConfigError, Loaded};
use crate::daemon::nats::{Nats, RawNats};
use crate::daemon::secret::{Secret, resolve_path};
use crate::protocol::command::DEFAULT_PREFIX;
use crate::protocol::grant::MAX_LIFETIME;
use crate::protocol::issuers::SigningKey;
use crate::protocol::token::TokenHash;

use super::policy::{ApiKey, Policy};

const AT: &str = "platform";

/// What is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    #[serde(default = "name")]
    name: String,
    signing_key_file: String,
    nats: RawNats,
    subject_prefix: Option<String>,
    #[serde(default = "answer_timeout", with = "humantime_serde")]
    answer_timeout: Duration,
    #[serde(default = "grant_lifetime", with = "humantime_serde")]
    grant_lifetime: Duration,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    api_key: Vec<RawApiKey>,
}

fn name() -> String {
    "stream-relay".into()
}

fn answer_timeout() -> Duration {
    Duration::from_secs(5)
}

fn grant_lifetime() -> Duration {
    Duration::from_secs(30)
}

fn everything() -> Vec<String> {
    vec!["*".into()]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApiKey {
    name: String,
    sha256: TokenHash,
    #[serde(default = "everything")]
    hosts: Vec<String>,
    #[serde(default = "everything")]
    targets: Vec<String>,
}

/// What was checked, and what a platform runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` of its grants.
    pub name: String,
    /// Signs grants.
    pub signing_key: Arc<SigningKey>,
    /// The way to NATS.
    pub nats: Nats,
    /// What every subject begins with.
    pub prefix: String,
    /// How long a host may take to answer.
    pub answer_timeout: Duration,
    /// How long a host may take to dial.
    pub grant_lifetime: Duration,
    /// Browser origins that may connect; empty means any.
    pub origins: Vec<String>,
    /// Who may open what.
    pub policy: Policy,
}

impl Raw {
    /// Checks what is written; reads the signing key.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub fn check(&self, loaded: &Loaded) -> Result<Settings, ConfigError> {
        let wrong = |key: &str, why: String| loaded.error_at(&[AT, key], why);
        if self.grant_lifetime > MAX_LIFETIME || self.grant_lifetime.as_secs() == 0 {
            return Err(wrong("grant_lifetime", format!("must be from 1s to {}s", MAX_LIFETIME.as_secs())));
        }
        if self.api_key.is_empty() {
            let why =
                "nobody could use it: add [[platform.api_key]] (stream-relay keygen api-key prints one)";
            return Err(wrong("api_key", why.into()));
        }
        let file = resolve_path(&self.signing_key_file);
        let file = file.map_err(|error| wrong("signing_key_file", error.to_string()))?;
        // Read as a secret first: a key that everybody may read signs nothing here.
        Secret::read(&self.signing_key_file).map_err(|error| wrong("signing_key_file", error.to_string()))?;
        let signing_key =
            SigningKey::read(&file).map_err(|error| wrong("signing_key_file", error.to_string()))?;
        let keys = self.api_key.iter().map(|key| ApiKey {
            name: key.name.clone(),
            sha256: key.sha256,
            hosts: key.hosts.clone(),
            targets: key.targets.clone(),
        });
        Ok(Settings {
            name: self.name.clone(),
            signing_key: Arc::new(signing_key),
            nats: self.nats.check(loaded, &[AT, "nats"])?,
            prefix: self.subject_prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.into()),
            answer_timeout: self.answer_timeout,
            grant_lifetime: self.grant_lifetime,
            origins: self.origins.clone(),
            policy: Policy::new(keys.collect()),
        })
    }
}
