//! Who may open what: API keys, known by their hashes, each with the hosts and targets it may have.

use crate::protocol::token::TokenHash;

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
    pub fn may_see(&self, host: &str) -> bool {
        lists(&self.hosts, host)
    }

    /// Whether the key may open this target.
    pub fn may_open(&self, host: &str, target: &str) -> bool {
        self.may_see(host) && lists(&self.targets, target)
    }
}

fn lists(names: &[String], name: &str) -> bool {
    names.iter().any(|listed| listed == "*" || listed == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_what_it_lists() {
        let key = ApiKey {
            name: "ci".into(),
            sha256: TokenHash::of(b"secret"),
            hosts: vec!["h1".into()],
            targets: vec!["*".into()],
        };
        let policy = Policy::new(vec![key]);
        assert!(policy.find("other").is_none());
        let key = policy.find("secret").unwrap();
        assert!(key.may_open("h1", "anything") && !key.may_open("h2", "anything") && !key.may_see("h2"));
    }
}
