//! `[auth]`: how commands prove that they may be obeyed, and how the host proves itself to relays.

use std::path::PathBuf;
use std::time::Duration;

use nkeys::KeyPair;
use opener::Authority;
use serde::Deserialize;

use protocol::grant::DEFAULT_LEEWAY;
use protocol::issuers::Issuers;
use service::config::{ConfigError, Loaded};
use service::nats::{Commands, Nats, key_pair};
use service::secret::{Secret, resolve_path};

use super::relay::RawRelay;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuth {
    mode: Mode,
    issuers_dir: String,
    #[serde(with = "humantime_serde")]
    leeway: Duration,
    host_key_file: Option<String>,
}

impl Default for RawAuth {
    fn default() -> RawAuth {
        RawAuth {
            mode: Mode::Signed,
            issuers_dir: "/etc/stream-agent/issuers.d".into(),
            leeway: DEFAULT_LEEWAY,
            host_key_file: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    Signed,
    Opaque,
}

#[derive(Clone, Debug)]
pub enum Auth {
    /// Every command has a signed grant.
    Signed {
        issuers: Issuers,
        /// The folder of the public keys.
        dir: PathBuf,
        /// How far clocks may be apart.
        leeway: Duration,
    },
    /// Simple mode: commands are not signed, and the relay expects this key.
    Opaque(Secret),
}

/// The host's own key; `Debug` shows only its public half.
#[derive(Clone)]
pub struct HostKey(pub KeyPair);

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({})", self.0.public_key())
    }
}

impl RawAuth {
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn has_host_key(&self) -> bool {
        self.host_key_file.is_some()
    }

    /// Who may have an opener begin a session.
    pub(super) fn authority(&self, loaded: &Loaded) -> Result<Authority, ConfigError> {
        match self.mode {
            Mode::Signed => {
                let (issuers, _) = self.issuers(loaded)?;
                Ok(Authority::Grants { issuers, leeway: self.leeway })
            }
            Mode::Opaque => Ok(Authority::NetworkHalf),
        }
    }

    pub(super) fn commands(&self) -> Commands {
        match self.mode {
            Mode::Signed => Commands::Signed,
            Mode::Opaque => Commands::Tokens,
        }
    }

    pub(super) fn check(&self, relay: &RawRelay, loaded: &Loaded) -> Result<Auth, ConfigError> {
        match self.mode {
            Mode::Signed => {
                let (issuers, dir) = self.issuers(loaded)?;
                Ok(Auth::Signed { issuers, dir, leeway: self.leeway })
            }
            Mode::Opaque => {
                let at = ["relay", "key_file"];
                let file = relay.key_file.as_ref();
                let file = file.ok_or_else(|| {
                    let error = loaded.error_at(&at, "is needed in simple mode: this host's relay key");
                    error.corrected_by(Some("[relay]"), "key_file = \"/etc/stream-agent/relay.key\"")
                })?;
                Ok(Auth::Opaque(Secret::read(file).map_err(|error| loaded.error_at(&at, error))?))
            }
        }
    }

    /// The platform's public keys, and their folder.
    fn issuers(&self, loaded: &Loaded) -> Result<(Issuers, PathBuf), ConfigError> {
        let at = ["auth", "issuers_dir"];
        let dir = resolve_path(&self.issuers_dir).map_err(|error| loaded.error_at(&at, error))?;
        let issuers = keys::read_issuers(&dir).map_err(|error| {
            let made = format!(
                "get the platform's public key, and put it there: `mkdir -p {0} && cp KID.pub {0}/`; or name its \
                 folder in [auth]: issuers_dir = \"/etc/stream-agent/issuers.d\"",
                dir.display()
            );
            let error = loaded.error_at(&at, error);
            if dir.exists() { error } else { error.corrected_by(None, &made) }
        })?;
        if issuers.is_empty() {
            let why = format!("no <kid>.pub in {}: put the platform's public key there", dir.display());
            let copy =
                format!("get the platform's public key, and put it there: `cp KID.pub {}/`", dir.display());
            return Err(loaded.error_at(&at, why).corrected_by(None, &copy));
        }
        Ok((issuers, dir))
    }

    /// Not the key of the NATS login: a signature for a login must prove nothing to a relay.
    pub(super) fn host_key(&self, nats: &Nats, loaded: &Loaded) -> Result<Option<HostKey>, ConfigError> {
        let Some(file) = &self.host_key_file else { return Ok(None) };
        let wrong = |why: String| loaded.error_at(&["auth", "host_key_file"], why);
        let key = key_pair(file).map_err(|error| wrong(format!("{error:#}")))?;
        if nats.public_key() == Some(key.public_key()) {
            let why = "is also the key of the NATS login: make another (`nk -gen user`)";
            return Err(wrong(why.into()));
        }
        Ok(Some(HostKey(key)))
    }
}
