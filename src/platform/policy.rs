//! Who may open what: API keys, known by their hashes, each with the hosts and targets it may have.

use crate::protocol::host::HostId;
use crate::protocol::token::TokenHash;

/// Stands for every host, or every target.
pub const ALL: &str = "*";

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
}

/// All keys.
#[derive(Clone, Debug)]
pub struct Policy(Vec<ApiKey>);

impl Policy {
    /// A policy of these keys.
    pub fn new(keys: Vec<ApiKey>) -> Policy {
        Policy(keys)
    }

    /// The key that was presented. Hashes are compared: how long it takes says nothing about a key.
    pub fn find(&self, presented: &str) -> Option<&ApiKey> {
        let hash = TokenHash::of(presented.as_bytes());
        self.0.iter().find(|key| key.sha256 == hash)
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
}

fn lists(names: &[String], name: &str) -> bool {
    names.iter().any(|listed| listed == ALL || listed == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hosts: &[&str], targets: &[&str]) -> ApiKey {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ApiKey {
            name: "ci".into(),
            sha256: TokenHash::of(b"secret"),
            hosts: list(hosts),
            targets: list(targets),
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
}
