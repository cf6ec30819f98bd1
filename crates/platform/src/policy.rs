//! Who may open what, and for which users: API keys, of which only the hashes are known.

use std::time::SystemTime;

use protocol::host::HostId;
use protocol::mode::Mode;
use protocol::name::shown;
use protocol::token::{Token, TokenHash};
use service::config::nearest;

/// The word for every host, every target, or every user.
pub(crate) const ALL: &str = "*";

/// The longest list of names that an error quotes.
const MOST_NAMED: usize = 20;

/// What keys created by 0.2.0 or later begin with. Without a `users` line, such a key may act for its own name only;
/// an older key may name any user, as before.
pub(crate) const PREFIX: &str = "stream_";

/// An API key, and what it may open.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Name of the key, for the audit.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: TokenHash,
    /// Ids of the hosts that it may see, or `*`.
    pub hosts: Vec<String>,
    /// Names of the targets that it may open, or `*`.
    pub targets: Vec<String>,
    /// Users that it may act for besides its own name, or `*`; `None` if not configured.
    pub users: Option<Vec<String>>,
    /// The only mode that it may have; `None` for both.
    pub only: Option<Mode>,
    /// Sessions that may be open or wait for their client at once.
    pub max_open: Option<usize>,
    /// Requests that involve a host: so many per minute, and so many at once.
    pub rate: Option<u32>,
    pub expires: Option<SystemTime>,
}

/// Whether a presented key has the form of those that are generated, which nobody can guess.
pub(crate) fn is_generated(presented: &str) -> bool {
    presented.trim().strip_prefix(PREFIX).is_some_and(|secret| secret.parse::<Token>().is_ok())
}

#[derive(Clone, Debug)]
pub struct Policy(Vec<ApiKey>);

impl Policy {
    /// A policy of these keys.
    pub fn new(keys: Vec<ApiKey>) -> Policy {
        Policy(keys)
    }

    /// All keys, in the order of the configuration.
    pub fn keys(&self) -> &[ApiKey] {
        &self.0
    }

    /// Finds a presented key. Hashes are compared, so the time that it takes reveals nothing about a key.
    pub fn find(&self, presented: &str) -> Option<ApiKey> {
        let hash = TokenHash::from_secret(presented.as_bytes());
        let mut key = self.0.iter().find(|key| key.sha256 == hash)?.clone();
        if presented.starts_with(PREFIX) {
            key.users.get_or_insert_default();
        }
        Some(key)
    }
}

impl ApiKey {
    /// Whether the key may see this host.
    pub fn may_see(&self, host: &HostId) -> bool {
        lists(&self.hosts, host.as_str())
    }

    /// Whether the key may open this target.
    pub fn may_open(&self, host: &HostId, target: &str) -> bool {
        self.may_see(host) && lists(&self.targets, target)
    }

    /// Why it may not open this, and what it may open: its holder may know what the key itself lists.
    pub fn why_not(&self, host: &HostId, target: Option<&str>) -> String {
        let (what, given, names) = match target {
            Some(target) if self.may_see(host) => ("target", target, &self.targets),
            _ => ("host", host.as_str(), &self.hosts),
        };
        let given = shown(given);
        let instead = match (nearest(&given, names), &names[..]) {
            (Some(nearest), _) => format!("; did you mean {nearest}?"),
            (None, []) => format!("; it lists no {what} at all"),
            (None, names) if names.len() <= MOST_NAMED => format!("; it may open {}", names.join(", ")),
            (None, _) => String::new(),
        };
        format!("this key may not open the {what} {given}{instead}")
    }

    /// Whether the key may open every target of the host.
    pub fn may_open_all(&self, host: &HostId) -> bool {
        self.may_see(host) && self.targets.iter().any(|listed| listed == ALL)
    }

    /// Whether the key may see a session and end it. What another platform opened, only a key for the whole host may.
    pub fn may_end(&self, host: &HostId, target: &str, is_own: bool) -> bool {
        if is_own { self.may_open(host, target) } else { self.may_open_all(host) }
    }

    /// Whether the key may act for this user.
    pub fn may_act_for(&self, user: &str) -> bool {
        user == self.name || self.users.as_ref().is_none_or(|users| lists(users, user))
    }

    /// The mode to ask the host for. `None`: the target's own default.
    ///
    /// # Errors
    /// The only mode that the key may have.
    pub fn mode(&self, asked: Option<Mode>) -> Result<Option<Mode>, Mode> {
        match (self.only, asked) {
            // Always named, since the target's default may be the other mode.
            (Some(only), None) => Ok(Some(only)),
            (Some(only), Some(mode)) if mode != only => Err(only),
            (_, asked) => Ok(asked),
        }
    }

    /// Whether the key has expired at `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

fn lists(names: &[String], name: &str) -> bool {
    names.iter().any(|listed| listed == ALL || listed == name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn key(hosts: &[&str], targets: &[&str]) -> ApiKey {
        ApiKey {
            name: "ci".into(),
            sha256: TokenHash::from_secret(b"secret"),
            hosts: list(hosts),
            targets: list(targets),
            users: None,
            only: None,
            max_open: None,
            rate: None,
            expires: None,
        }
    }

    #[test]
    fn only_the_key_itself_is_known() {
        let policy = Policy::new(vec![key(&["*"], &["*"])]);
        assert!(policy.find("secret").is_some());
        for other in ["", "other", "secret ", "SECRET"] {
            assert!(policy.find(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_key_opens_what_it_lists() {
        let (h1, h2) = ("h1".parse().unwrap(), "h2".parse().unwrap());
        let all_of_one = key(&["h1"], &["*"]);
        assert!(all_of_one.may_open(&h1, "anything") && all_of_one.may_open_all(&h1));
        assert!(!all_of_one.may_see(&h2) && !all_of_one.may_open(&h2, "anything"));
        assert!(!all_of_one.may_open_all(&h2));
        let one_of_all = key(&["*"], &["log"]);
        assert!(one_of_all.may_open(&h2, "log") && !one_of_all.may_open(&h2, "shell"));
        assert!(!one_of_all.may_open_all(&h2));
        assert!(!key(&[], &[]).may_see(&h1));
    }

    #[test]
    fn a_refusal_says_what_the_key_lists_and_nothing_else() {
        let (web1, web2) = ("web1".parse().unwrap(), "web2".parse().unwrap());
        let few = key(&["web1"], &["syslog", "shell"]);
        let said = "this key may not open the target nothing; it may open syslog, shell";
        assert_eq!(few.why_not(&web1, Some("nothing")), said);
        let said = "this key may not open the target shel; did you mean shell?";
        assert_eq!(few.why_not(&web1, Some("shel")), said);
        assert_eq!(
            few.why_not(&web2, Some("shel")),
            "this key may not open the host web2; did you mean web1?"
        );
        let none = "this key may not open the host web1; it lists no host at all";
        assert_eq!(key(&[], &["*"]).why_not(&web1, None), none);
    }

    #[test]
    fn a_new_key_speaks_for_itself_and_an_old_one_for_whom_it_likes() {
        let old = key(&["*"], &["*"]);
        let new = ApiKey { sha256: TokenHash::from_secret(b"stream_secret"), ..old.clone() };
        let listed = ApiKey { users: Some(list(&["alice"])), ..old.clone() };
        let any = ApiKey { users: Some(list(&["*"])), ..new.clone() };
        let may = |key: ApiKey, presented: &str| {
            let key = Policy::new(vec![key]).find(presented).unwrap();
            ["ci", "alice", "root"].map(|user| key.may_act_for(user))
        };
        assert_eq!(may(old, "secret"), [true; 3]);
        assert_eq!(may(new, "stream_secret"), [true, false, false]);
        assert_eq!(may(listed, "secret"), [true, true, false]);
        assert_eq!(may(any, "stream_secret"), [true; 3]);
    }

    #[test]
    fn a_key_for_one_mode_asks_for_it() {
        let both = key(&["*"], &["*"]);
        assert_eq!((both.mode(None), both.mode(Some(Mode::Rw))), (Ok(None), Ok(Some(Mode::Rw))));
        let ro = ApiKey { only: Some(Mode::Ro), ..both };
        assert_eq!((ro.mode(None), ro.mode(Some(Mode::Ro))), (Ok(Some(Mode::Ro)), Ok(Some(Mode::Ro))));
        assert_eq!(ro.mode(Some(Mode::Rw)), Err(Mode::Ro));
    }

    #[test]
    fn a_key_is_good_until_it_expires() {
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let key = ApiKey { expires: Some(end), ..key(&["*"], &["*"]) };
        assert!(!key.is_expired(end - Duration::from_secs(1)) && key.is_expired(end));
    }
}
