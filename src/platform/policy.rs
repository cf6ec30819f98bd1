//! Who may open what, and in whose name: API keys, known by their hashes.

use std::time::SystemTime;

use crate::protocol::host::HostId;
use crate::protocol::mode::Mode;
use crate::protocol::token::TokenHash;

/// Stands for every host, every target, or every user.
pub const ALL: &str = "*";

/// What keys of this version begin with. Whoever holds one speaks for the key's own name only, also where
/// nobody has copied the `users` line; older keys without that line may name anybody, as they always could.
pub const PREFIX: &str = "stream_";

/// One key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// For the audit.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: TokenHash,
    /// Host ids, or `*`.
    pub hosts: Vec<String>,
    /// Names of targets, or `*`.
    pub targets: Vec<String>,
    /// Whom it may speak for besides its own name, or `*`; `None` if nobody has said.
    pub users: Option<Vec<String>>,
    /// The modes that it may have, if not both.
    pub only: Option<Mode>,
    /// Sessions that may be open or wait for their client at once.
    pub max_open: Option<usize>,
    /// Requests in a minute that make a host work, and so many at once.
    pub rate: Option<u32>,
    /// From when it is not good any more.
    pub expires: Option<SystemTime>,
}

/// All keys.
#[derive(Clone, Debug)]
pub struct Policy(Vec<ApiKey>);

impl Policy {
    /// A policy of these keys.
    pub fn new(keys: Vec<ApiKey>) -> Policy {
        Policy(keys)
    }

    /// All of them.
    pub fn keys(&self) -> &[ApiKey] {
        &self.0
    }

    /// The key that was presented. Hashes are compared: how long it takes says nothing about a key.
    pub fn find(&self, presented: &str) -> Option<ApiKey> {
        let hash = TokenHash::of(presented.as_bytes());
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

    /// Whether the key may open whatever the host has.
    pub fn may_open_all(&self, host: &HostId) -> bool {
        self.may_see(host) && self.targets.iter().any(|listed| listed == ALL)
    }

    /// Whether the key may open something in this user's name.
    pub fn may_speak_for(&self, user: &str) -> bool {
        user == self.name || self.users.as_ref().is_none_or(|users| lists(users, user))
    }

    /// The mode to ask the host for. `None`: the target's own default.
    ///
    /// # Errors
    /// When the key may not have it.
    pub fn mode(&self, asked: Option<Mode>) -> Result<Option<Mode>, Mode> {
        match (self.only, asked) {
            // Said always: the target's own default may be the other one.
            (Some(only), None) => Ok(Some(only)),
            (Some(only), Some(mode)) if mode != only => Err(only),
            (_, asked) => Ok(asked),
        }
    }

    /// Whether its time is over.
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
            sha256: TokenHash::of(b"secret"),
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
    fn a_new_key_speaks_for_itself_and_an_old_one_for_whom_it_likes() {
        let old = key(&["*"], &["*"]);
        let new = ApiKey { sha256: TokenHash::of(b"stream_secret"), ..old.clone() };
        let listed = ApiKey { users: Some(list(&["alice"])), ..old.clone() };
        let any = ApiKey { users: Some(list(&["*"])), ..new.clone() };
        let may = |key: ApiKey, presented: &str| {
            let key = Policy::new(vec![key]).find(presented).unwrap();
            ["ci", "alice", "root"].map(|user| key.may_speak_for(user))
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
