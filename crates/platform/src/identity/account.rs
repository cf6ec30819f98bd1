//! What a cookie or a link stands for: an API key by its name, and the user of it.

use serde::{Deserialize, Serialize};

use crate::policy::{ApiKey, Policy};

/// A user of a key. The key itself is looked up again for every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Name of the API key.
    pub key: String,
    /// Fingerprint of the key's hash: another key under the same name is not meant.
    pub print: String,
    pub user: String,
}

impl Account {
    pub(crate) fn new(key: &ApiKey, user: &str) -> Account {
        Account { key: key.name.clone(), print: key.sha256.fingerprint(), user: user.to_owned() }
    }

    /// The key as the policy has it now, for this user alone. `None` if it was removed or changed, or may not act for
    /// the user any more.
    pub(crate) fn key_in(&self, policy: &Policy) -> Option<ApiKey> {
        let key = policy.keys().iter().find(|key| key.name == self.key)?;
        if key.sha256.fingerprint() != self.print || !key.may_act_for(&self.user) {
            return None;
        }
        Some(ApiKey { users: Some(vec![self.user.clone()]), ..key.clone() })
    }
}

#[cfg(test)]
mod tests {
    use protocol::token::TokenHash;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn it_is_good_for_the_same_key_and_for_users_that_the_key_still_lists() {
        let text = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\nusers = ['alice']\n";
        let key = Folder::new().settings(text).unwrap().policy.keys()[0].clone();
        let alice = Account::new(&key, "alice");
        let good = |key: ApiKey| alice.key_in(&Policy::new(vec![key])).is_some();
        assert!(good(key.clone()));
        assert!(good(ApiKey { users: None, ..key.clone() }));
        assert!(!good(ApiKey { users: Some(vec!["bob".into()]), ..key.clone() }));
        assert!(!good(ApiKey { name: "you".into(), ..key.clone() }));
        assert!(!good(ApiKey { sha256: TokenHash::from_secret(b"new"), ..key.clone() }));
        let only = alice.key_in(&Policy::new(vec![ApiKey { users: Some(vec!["*".into()]), ..key }])).unwrap();
        assert!(only.may_act_for("alice") && !only.may_act_for("bob"));
    }
}
