//! The `[platform]` section: as written ([`Raw`]), and checked ([`Settings`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use protocol::command::DEFAULT_PREFIX;
use protocol::grant::MAX_LIFETIME;
use protocol::origin::WebOrigin;
use protocol::signing::SigningKey;
use service::config::{ConfigError, Loaded};
use service::nats::{Commands, Nats, RawNats};
use service::secret::{Secret, resolve_path};

use super::key::{RawApiKey, remarks};
use super::policy::Policy;

const AT: &str = "platform";

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
    max_seconds: Option<u64>,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default = "state_dir")]
    state_dir: String,
    #[serde(default)]
    api_key: Vec<RawApiKey>,
}

fn name() -> String {
    "stream-relay".into()
}

/// Where systemd's `StateDirectory=` makes it.
fn state_dir() -> String {
    "/var/lib/stream-relay".into()
}

fn answer_timeout() -> Duration {
    Duration::from_secs(5)
}

fn grant_lifetime() -> Duration {
    Duration::from_secs(30)
}

/// What a platform runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the platform: `iss` of its grants.
    pub name: String,
    /// The key that signs grants.
    pub signing_key: Arc<SigningKey>,
    /// How to connect to NATS.
    pub nats: Nats,
    /// What every NATS subject begins with.
    pub prefix: String,
    /// How long a host may take to answer.
    pub answer_timeout: Duration,
    /// How long a host may take to dial.
    pub grant_lifetime: Duration,
    /// Hard end of a session, in seconds, if the user names none.
    pub max_seconds: Option<u64>,
    /// Browser origins that may connect; empty means any.
    pub origins: Vec<String>,
    /// Where the key of signing in is; `None` turns it off.
    pub state_dir: Option<PathBuf>,
    /// The API keys, and what each may open.
    pub policy: Policy,
}

impl Raw {
    /// Checks the section, and reads the signing key.
    ///
    /// # Errors
    /// The first mistake, with its file and line.
    pub fn check(&self, loaded: &Loaded) -> Result<Settings, ConfigError> {
        let wrong = |key: &str, why: String| loaded.error_at(&[AT, key], why);
        if self.grant_lifetime > MAX_LIFETIME || self.grant_lifetime.as_secs() == 0 {
            return Err(wrong("grant_lifetime", format!("must be from 1s to {}s", MAX_LIFETIME.as_secs())));
        }
        if self.answer_timeout.is_zero() || self.answer_timeout > MAX_LIFETIME {
            return Err(wrong("answer_timeout", format!("must be more than 0 and at most {MAX_LIFETIME:?}")));
        }
        if self.max_seconds == Some(0) {
            return Err(wrong("max_seconds", "must be at least 1".into()));
        }
        if !self.state_dir.is_empty() && !self.state_dir.starts_with('/') {
            let why = "must be an absolute path; \"\" turns signing in off".to_owned();
            return Err(wrong("state_dir", why));
        }
        let prefix = self.subject_prefix.as_deref().unwrap_or(DEFAULT_PREFIX);
        if !is_subject(prefix) {
            let why =
                format!("\"{prefix}\" is not a NATS subject: words of A-Z a-z 0-9 _ - with dots between");
            return Err(wrong("subject_prefix", why));
        }
        let file = resolve_path(&self.signing_key_file);
        let file = file.map_err(|error| wrong("signing_key_file", error.to_string()))?;
        // Read as a secret first, which refuses a file that everybody may read.
        Secret::read(&self.signing_key_file).map_err(|error| wrong("signing_key_file", error.to_string()))?;
        let signing_key =
            keys::read_signing_key(&file).map_err(|error| wrong("signing_key_file", error.to_string()))?;
        Ok(Settings {
            name: self.name.clone(),
            signing_key: Arc::new(signing_key),
            nats: self.nats.check(loaded, &[AT, "nats"], Commands::Signed)?,
            prefix: prefix.to_owned(),
            answer_timeout: self.answer_timeout,
            grant_lifetime: self.grant_lifetime,
            max_seconds: self.max_seconds,
            origins: self.origins(loaded)?,
            state_dir: Some(PathBuf::from(&self.state_dir)).filter(|dir| !dir.as_os_str().is_empty()),
            policy: self.policy(loaded)?,
        })
    }

    /// The origins in the spelling of browsers, because older relays compare them as text.
    fn origins(&self, loaded: &Loaded) -> Result<Vec<String>, ConfigError> {
        let parse = |written: &String| WebOrigin::parse(written).map(|origin| origin.as_str().to_owned());
        let parsed: Result<_, _> = self.origins.iter().map(parse).collect();
        parsed.map_err(|error| loaded.error_at(&[AT, "origins"], error))
    }

    fn policy(&self, loaded: &Loaded) -> Result<Policy, ConfigError> {
        if self.api_key.is_empty() {
            let why =
                "nobody could use it: add [[platform.api_key]] (stream-relay keygen api-key prints one)";
            return Err(loaded.error_at(&[AT, "api_key"], why));
        }
        let mut keys = Vec::new();
        for (number, raw) in self.api_key.iter().enumerate() {
            let at = [AT, "api_key", &format!("[{number}]")];
            keys.push(raw.check(&keys, loaded, &at)?);
        }
        Ok(Policy::new(keys))
    }
}

impl Settings {
    /// What the owner should know of settings that are accepted all the same.
    pub fn remarks(&self) -> Vec<String> {
        let now = SystemTime::now();
        let of_keys = self.policy.keys().iter().flat_map(|key| remarks(key, now));
        of_keys.chain(self.nats.remark()).collect()
    }
}

/// Whether NATS takes it as the beginning of a subject, without wildcards.
fn is_subject(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;

    const GOOD: &str = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n";

    #[test]
    fn what_is_not_written_has_its_default() {
        let settings = Folder::new().settings(GOOD).unwrap();
        assert_eq!((settings.name.as_str(), settings.prefix.as_str()), ("stream-relay", "stream.v1"));
        assert_eq!((settings.answer_timeout.as_secs(), settings.grant_lifetime.as_secs()), (5, 30));
        assert_eq!((settings.max_seconds, settings.origins.len()), (None, 0));
        assert_eq!(settings.signing_key.kid(), "k1");
        assert_eq!((settings.state_dir, super::state_dir().as_str()), (None, "/var/lib/stream-relay"));
        let at = Folder::new().settings(&format!("state_dir = '/x'\n{GOOD}")).unwrap().state_dir;
        assert_eq!(at.as_deref(), Some("/x".as_ref()));
        let key = settings.policy.find("secret").unwrap();
        assert!(key.may_open_all(&"h1".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, complaint) in [
            ("", "`platform.api_key`: nobody could use it"),
            ("grant_lifetime = '61s'\n", "`platform.grant_lifetime`: must be from 1s to 60s"),
            ("grant_lifetime = '0s'\n", "`platform.grant_lifetime`: must be"),
            ("answer_timeout = '0s'\n", "`platform.answer_timeout`: must be more than 0"),
            ("max_seconds = 0\n", "`platform.max_seconds`: must be at least 1"),
            ("subject_prefix = 'a.*'\n", "`platform.subject_prefix`: \"a.*\" is not a NATS subject"),
            ("subject_prefix = 'a..b'\n", "`platform.subject_prefix`: "),
            ("state_dir = 'state'\n", "`platform.state_dir`: must be an absolute path"),
            ("colour = 1\n", "unknown key `platform.colour`"),
        ] {
            let error = Folder::new().settings(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn a_signing_key_that_everybody_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(folder.path("k1.pem"), open).unwrap();
        let error = folder.settings(GOOD).unwrap_err().to_string();
        assert!(error.contains("signing_key_file") && error.contains("chmod"), "{error}");
        std::fs::remove_file(folder.path("k1.pem")).unwrap();
        assert!(folder.settings(GOOD).unwrap_err().to_string().contains("No such file"));
    }
}
