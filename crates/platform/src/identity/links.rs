//! Links that sign a user in once. Only the hash of a link's secret is kept, and only in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use protocol::token::{Token, TokenHash};

use super::account::Account;

/// How long a link is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How long it is known afterwards, so that its user learns why it does not work.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Links that are known at once: of all keys, and of one.
const MOST: usize = 1000;
const MOST_OF_ONE: usize = 100;

#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<TokenHash, Link>>);

struct Link {
    account: Account,
    until: Instant,
    expires: SystemTime,
    is_used: bool,
}

impl Link {
    fn is_good(&self, now: Instant) -> bool {
        !self.is_used && now < self.until
    }
}

/// Why a link does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkError {
    Unknown,
    Used,
    Expired,
}

/// So many links are good at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany(pub usize);

impl Links {
    /// A new link: its secret, and until when it is good.
    ///
    /// # Errors
    /// If too many are good already.
    pub(crate) fn create(&self, secret: &Token, account: Account) -> Result<SystemTime, TooMany> {
        let now = Instant::now();
        let mut links = self.lock();
        links.retain(|_, link| now < link.until + REMEMBERED);
        if links.len() >= MOST {
            links.retain(|_, link| link.is_good(now));
        }
        let of_key = |link: &&Link| link.account.key == account.key && link.is_good(now);
        if links.values().filter(of_key).count() >= MOST_OF_ONE {
            return Err(TooMany(MOST_OF_ONE));
        }
        if links.len() >= MOST {
            return Err(TooMany(MOST));
        }
        let expires = SystemTime::now() + LIFETIME;
        links.insert(secret.hash(), Link { account, until: now + LIFETIME, expires, is_used: false });
        Ok(expires)
    }

    /// Whose link it is, and until when it is good. Uses nothing up.
    ///
    /// # Errors
    /// Why it does not work.
    pub(crate) fn look(&self, secret: &str) -> Result<(Account, SystemTime), LinkError> {
        let mut links = self.lock();
        find(&mut links, secret).map(|link| (link.account.clone(), link.expires))
    }

    /// Uses a link up.
    ///
    /// # Errors
    /// Why it does not work.
    pub(crate) fn redeem(&self, secret: &str) -> Result<Account, LinkError> {
        let mut links = self.lock();
        let link = find(&mut links, secret)?;
        link.is_used = true;
        Ok(link.account.clone())
    }

    /// Uses up all links of a user.
    pub(super) fn end_all(&self, user: &str) {
        for link in self.lock().values_mut().filter(|link| link.account.user == user) {
            link.is_used = true;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TokenHash, Link>> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that it takes shows nothing of a secret: hashes are looked up.
fn find<'a>(links: &'a mut HashMap<TokenHash, Link>, secret: &str) -> Result<&'a mut Link, LinkError> {
    let link = links.get_mut(&TokenHash::from_secret(secret.as_bytes())).ok_or(LinkError::Unknown)?;
    match link {
        link if link.is_used => Err(LinkError::Used),
        link if Instant::now() >= link.until => Err(LinkError::Expired),
        link => Ok(link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: &str) -> Account {
        Account { key: key.into(), print: "p".into(), user: "alice".into() }
    }

    fn made(links: &Links, key: &str) -> Result<String, TooMany> {
        let secret = Token::generate().unwrap();
        links.create(&secret, account(key)).map(|_| secret.reveal())
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_is_good_once_and_for_ten_minutes() {
        let links = Links::default();
        let (first, second) = (made(&links, "a").unwrap(), made(&links, "a").unwrap());
        assert_eq!(links.look(&first).unwrap().0, account("a"));
        assert_eq!(links.look(&first).unwrap().0, account("a"), "a look uses nothing up");
        assert_eq!(links.redeem(&first), Ok(account("a")));
        assert_eq!((links.redeem(&first), links.look(&first)), (Err(LinkError::Used), Err(LinkError::Used)));
        tokio::time::advance(LIFETIME).await;
        assert_eq!(links.redeem(&second), Err(LinkError::Expired));
        for other in ["", "x", &Token::generate().unwrap().reveal()] {
            assert_eq!(links.redeem(other), Err(LinkError::Unknown));
        }
        tokio::time::advance(REMEMBERED).await;
        made(&links, "a").unwrap();
        assert_eq!(links.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_bounded_and_one_key_cannot_take_the_place_of_all() {
        let links = Links::default();
        let of_a: Vec<_> = (0..MOST_OF_ONE).map(|_| made(&links, "a").unwrap()).collect();
        assert_eq!(made(&links, "a"), Err(TooMany(MOST_OF_ONE)));
        links.redeem(&of_a[0]).unwrap();
        assert!(made(&links, "a").is_ok());
        for key in 1..10 {
            (0..MOST_OF_ONE).for_each(|_| drop(made(&links, &key.to_string())));
        }
        assert_eq!(links.lock().len(), MOST);
        assert_eq!(made(&links, "b"), Err(TooMany(MOST)), "all are good");
        tokio::time::advance(LIFETIME).await;
        assert!(made(&links, "b").is_ok());
    }

    #[tokio::test]
    async fn all_links_of_one_user_end_at_once() {
        let links = Links::default();
        let alices = made(&links, "a").unwrap();
        let secret = Token::generate().unwrap();
        links.create(&secret, Account { user: "bob".into(), ..account("a") }).unwrap();
        links.end_all("alice");
        assert_eq!(links.redeem(&alices), Err(LinkError::Used));
        assert!(links.redeem(&secret.reveal()).is_ok());
    }

    #[test]
    fn of_many_who_redeem_it_at_once_one_gets_in() {
        let links = Links::default();
        let secret = made(&links, "a").unwrap();
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| links.redeem(&secret).is_ok())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}
