//! `[[platform.api_key]]`: what is written of one key, and what was checked.

use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::{format_rfc3339_seconds, parse_rfc3339};
use serde::Deserialize;

use protocol::host::HostId;
use protocol::mode::Mode;
use protocol::name::{WHAT_A_NAME_IS, is_name};
use protocol::token::TokenHash;
use service::config::{ConfigError, Loaded};

use super::policy::{ALL, ApiKey};

/// How long before a key expires its owner is reminded.
const REMINDER: Duration = Duration::from_secs(14 * 24 * 3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawApiKey {
    name: String,
    sha256: TokenHash,
    #[serde(default = "everything")]
    hosts: Vec<String>,
    #[serde(default = "everything")]
    targets: Vec<String>,
    users: Option<Vec<String>>,
    #[serde(default = "both")]
    modes: Vec<Mode>,
    max_open: Option<usize>,
    rate: Option<u32>,
    expires: Option<toml::Value>,
}

fn everything() -> Vec<String> {
    vec![ALL.into()]
}

fn both() -> Vec<Mode> {
    vec![Mode::Ro, Mode::Rw]
}

impl RawApiKey {
    /// Checks what is written at `at`, beside the keys that were checked before it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub(crate) fn check(
        &self,
        others: &[ApiKey],
        loaded: &Loaded,
        at: &[&str],
    ) -> Result<ApiKey, ConfigError> {
        let wrong = |key: &str, why: &str| loaded.error_at(&[at, &[key]].concat(), why);
        if !is_name(&self.name) {
            let why = format!("\"{}\" is not {WHAT_A_NAME_IS}", self.name.escape_debug());
            return Err(wrong("name", &why));
        }
        if others.iter().any(|key| key.name == self.name) {
            return Err(wrong("name", "another key has this name: the audit could not distinguish them"));
        }
        if others.iter().any(|key| key.sha256 == self.sha256) {
            return Err(wrong("sha256", "another entry has this key: only the first would count"));
        }
        if let Some(bad) = self.hosts.iter().find(|host| *host != ALL && host.parse::<HostId>().is_err()) {
            let why = format!("\"{bad}\" is neither a host id nor \"*\": patterns are not understood");
            return Err(wrong("hosts", &why));
        }
        if let Some(bad) = self.targets.iter().find(|name| *name != ALL && name.contains('*')) {
            let why = format!("\"{bad}\" is neither a name nor \"*\": patterns are not understood");
            return Err(wrong("targets", &why));
        }
        let is_user = |name: &String| name == ALL || (is_name(name) && !name.contains('*'));
        if let Some(bad) = self.users.iter().flatten().find(|name| !is_user(name)) {
            let why = format!("\"{}\" is neither {WHAT_A_NAME_IS}, nor \"*\"", bad.escape_debug());
            return Err(wrong("users", &why));
        }
        let only = match (self.modes.contains(&Mode::Ro), self.modes.contains(&Mode::Rw)) {
            (true, true) => None,
            (true, false) => Some(Mode::Ro),
            (false, true) => Some(Mode::Rw),
            (false, false) => return Err(wrong("modes", "lists nothing: \"ro\", \"rw\", or both")),
        };
        if self.max_open == Some(0) {
            return Err(wrong("max_open", "must be at least 1; a key that opens nothing can be removed"));
        }
        if self.rate == Some(0) {
            return Err(wrong("rate", "must be at least 1 (requests in a minute)"));
        }
        let expires = self.expires.as_ref().map(moment).transpose().map_err(|why| wrong("expires", &why))?;
        Ok(ApiKey {
            name: self.name.clone(),
            sha256: self.sha256,
            hosts: self.hosts.clone(),
            targets: self.targets.clone(),
            users: self.users.clone(),
            only,
            max_open: self.max_open,
            rate: self.rate,
            expires,
        })
    }
}

/// A day, from its first second on, or a moment; both in UTC, with or without quotes.
fn moment(value: &toml::Value) -> Result<SystemTime, String> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let is_day = text.len() == "2027-01-31".len();
    let whole = if is_day { format!("{text}T00:00:00Z") } else { text.clone() };
    parse_rfc3339(&whole).map_err(|_| {
        format!("{text} is neither a day such as 2027-01-31 nor a moment in UTC such as 2027-01-31T12:00:00Z")
    })
}

/// What its owner should know of a key that is accepted all the same.
pub(crate) fn remarks(key: &ApiKey, now: SystemTime) -> Vec<String> {
    let mut remarks = vec![];
    let name = &key.name;
    if key.users.is_none() {
        remarks.push(format!(
            "API key {name:?} has no `users`: if it was made before 0.2.0, its holder may name anybody as the user; \
             write users = [{name:?}], or users = [\"*\"] if that is what you want"
        ));
    }
    if let Some(expires) = key.expires {
        let day = format_rfc3339_seconds(expires);
        if expires <= now {
            remarks
                .push(format!("API key {name:?} expired at {day}: requests with it are answered with 401"));
        } else if expires <= now + REMINDER {
            remarks.push(format!("API key {name:?} expires at {day}"));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;
    use super::*;

    const GOOD: &str = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n";

    fn key(lines: &str) -> Result<ApiKey, String> {
        let settings =
            Folder::new().settings(&format!("{GOOD}{lines}\n")).map_err(|error| error.to_string())?;
        Ok(settings.policy.keys()[0].clone())
    }

    #[test]
    fn a_policy_that_would_not_mean_what_it_says_is_refused() {
        for (second, complaint) in [
            ("name = 'me'\nsha256 = 'OTHER'", ":8: `platform.api_key[1].name`: another key has this name"),
            ("name = 'you'\nsha256 = 'HASH'", ":9: `platform.api_key[1].sha256`: another entry"),
            (
                "name = 'you'\nsha256 = 'OTHER'\nhosts = ['web*']",
                ":10: `platform.api_key[1].hosts`: \"web*\"",
            ),
            ("name = 'you'\nsha256 = 'OTHER'\nhosts = ['a.b']", "neither a host id nor"),
            ("name = 'you'\nsha256 = 'OTHER'\ntargets = ['vm-*']", "`platform.api_key[1].targets`: \"vm-*\""),
            ("name = 'you'\nsha256 = 'abc'", "64 hexadecimal digits"),
            (
                "name = \"y\\u202eou\"\nsha256 = 'OTHER'",
                "`platform.api_key[1].name`: \"y\\u{202e}ou\" is not",
            ),
        ] {
            let text = format!("{GOOD}[[platform.api_key]]\n{second}\n");
            let error = Folder::new().settings(&text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{second}: {error}");
        }
        for (lines, complaint) in [
            ("users = ['al*']", "`platform.api_key[0].users`: \"al*\" is neither a name"),
            ("users = [\"a\\u200b\"]", "\"a\\u{200b}\" is neither a name"),
            ("modes = []", "`platform.api_key[0].modes`: lists nothing"),
            ("modes = ['wo']", "unknown value `wo`"),
            ("max_open = 0", "`platform.api_key[0].max_open`: must be at least 1"),
            ("rate = 0", "`platform.api_key[0].rate`: must be at least 1"),
            ("expires = 'soon'", "`platform.api_key[0].expires`: soon is neither a day such as"),
            ("expires = 2027-01-31T12:00:00", "is neither a day such as"),
            ("expires = 2027", "is neither a day such as"),
        ] {
            let error = key(lines).unwrap_err();
            assert!(error.contains(complaint), "{lines}: {error}");
        }
    }

    #[test]
    fn all_of_it_is_understood() {
        let key =
            key("users = ['alice', '*']\nmodes = ['ro']\nmax_open = 3\nrate = 60\nexpires = 1970-01-02");
        let key = key.unwrap();
        assert_eq!(key.users.as_deref(), Some(&["alice".to_owned(), "*".to_owned()][..]));
        assert_eq!((key.only, key.max_open, key.rate), (Some(Mode::Ro), Some(3), Some(60)));
        assert_eq!(key.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(86400)));
    }

    #[test]
    fn a_day_and_a_moment_are_read_with_and_without_quotes() {
        for (text, seconds) in
            [("'1970-01-02'", 86400), ("1970-01-02T00:00:01Z", 86401), ("'1970-01-02T00:00:02Z'", 86402)]
        {
            let expires = key(&format!("expires = {text}")).unwrap().expires.unwrap();
            assert_eq!(expires, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn the_owner_is_told_of_keys_that_name_anybody_and_of_those_that_end() {
        let day = Duration::from_secs(24 * 3600);
        let end = SystemTime::UNIX_EPOCH + 100 * day;
        let old = key("expires = 1970-04-11").unwrap();
        assert_eq!(old.expires, Some(end));
        let of = |key: &ApiKey, now| remarks(key, now).join("; ");
        assert!(of(&old, SystemTime::UNIX_EPOCH).contains("write users = [\"me\"]"));
        let new = ApiKey { users: Some(vec![]), ..old };
        assert_eq!(of(&new, end - 15 * day), "");
        assert!(of(&new, end - 13 * day).contains("expires at 1970-04-11T00:00:00Z"));
        assert!(of(&new, end).contains("expired at 1970-04-11T00:00:00Z"));
    }
}
