//! Who asks. There is one type for it, [`Identity`], and one place that makes it, [`SignIn::identify`]: a further way to
//! sign in is a further file here, and no handler knows of it.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use hyper::header::{AUTHORIZATION, HeaderMap};
use tracing::warn;

use crate::policy::{ApiKey, Policy};

use sign_in_key::SignInKeys;
use signed_out::SignedOut;

pub(crate) use account::Account;
pub(crate) use attempts::Attempts;
pub(crate) use cookie::Cookie;
pub(crate) use links::{LinkError, Links, TooMany};
pub(crate) use origin::{NotHere, OwnOrigin, OwnOrigins};

mod account;
mod attempts;
mod cookie;
mod links;
mod origin;
mod sign_in_key;
mod signed_out;
mod state_file;

/// Who asks, and what they may do: the rights of an API key, for one user.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// A known key that has not expired.
    pub key: ApiKey,
    /// The user, for grants and audit.
    pub user: String,
    /// The cookie that says so; none if the key itself came.
    pub cookie: Option<Cookie>,
}

impl Identity {
    /// The holder of a key, who is called like the key.
    fn of_key(key: ApiKey) -> Identity {
        Identity { user: key.name.clone(), key, cookie: None }
    }

    /// Until when it is good, if it has an end.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        let cookie = self.cookie.as_ref().map(Cookie::expires);
        [cookie, self.key.expires].into_iter().flatten().min()
    }

    /// Whether it may act for this user. Who signed in acts for one user, whatever else the key may do.
    pub(crate) fn may_act_for(&self, user: &str) -> bool {
        match self.cookie {
            Some(_) => user == self.user,
            None => self.key.may_act_for(user),
        }
    }
}

/// Why nobody is known.
#[derive(Debug)]
pub(crate) enum NoIdentity {
    /// The request has neither a key nor a cookie.
    Nothing,
    UnknownKey,
    /// Has the name of the key.
    KeyExpired(String),
    /// The cookie is not good, or not any more.
    SignedOut,
    /// A cookie counts only in requests of our own pages.
    NotHere(NotHere),
}

/// What signing in needs. Without a place for its key nobody can sign in, and API keys work all the same.
pub(crate) struct SignIn {
    state: RwLock<Result<Arc<On>, String>>,
    pub links: Links,
    pub attempts: Attempts,
}

struct On {
    keys: SignInKeys,
    signed_out: Arc<SignedOut>,
}

impl SignIn {
    /// Reads or makes the key in `dir`; without a directory, signing in is off.
    pub(crate) fn open(dir: Option<&Path>) -> SignIn {
        let state = RwLock::new(Err(String::new()));
        let sign_in = SignIn { state, links: Links::default(), attempts: Attempts::default() };
        sign_in.reload(dir);
        sign_in
    }

    /// Reads the key again, and replaces it if it is old.
    pub(crate) fn reload(&self, dir: Option<&Path>) {
        let now = SystemTime::now();
        let state = match dir {
            None => Err("nobody can sign in: platform.state_dir is \"\"".to_owned()),
            Some(dir) => match SignInKeys::open(dir, now) {
                Ok(keys) => Ok(Arc::new(On { keys, signed_out: self.signed_out(dir) })),
                Err(why) => Err(format!("nobody can sign in: {why}")),
            },
        };
        let mut old = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let (Err(why), Some(_)) = (&state, dir)
            && old.as_ref().err() != Some(why)
        {
            warn!("platform: {why}; API keys work");
        }
        *old = state;
    }

    /// What is in memory may be newer than the file.
    fn signed_out(&self, dir: &Path) -> Arc<SignedOut> {
        let before = self.on().ok().filter(|on| on.signed_out.dir() == dir);
        before.map_or_else(|| Arc::new(SignedOut::open(dir)), |on| on.signed_out.clone())
    }

    /// Who asks. `is_read`: the request changes nothing.
    ///
    /// # Errors
    /// Why that is not known.
    pub(crate) fn identify(
        &self,
        policy: &Policy,
        origins: &OwnOrigins,
        headers: &HeaderMap,
        is_read: bool,
    ) -> Result<Identity, NoIdentity> {
        let now = SystemTime::now();
        // A proxy with a password of its own passes `Authorization: Basic` on, which says nothing to us.
        if let Some(key) = bearer(headers) {
            return self.by_key(policy, key);
        }
        if !cookie::is_there(headers) {
            return Err(NoIdentity::Nothing);
        }
        let own = origins.of(headers).map_err(NoIdentity::NotHere)?;
        let on = self.on().map_err(|_| NoIdentity::SignedOut)?;
        let cookie = Cookie::received(headers, own, &on.keys).ok_or(NoIdentity::SignedOut)?;
        if cookie.expires() <= now || on.signed_out.has(&cookie) {
            return Err(NoIdentity::SignedOut);
        }
        let key = cookie.account.key_in(policy).ok_or(NoIdentity::SignedOut)?;
        let identity =
            Identity { user: cookie.account.user.clone(), cookie: Some(cookie), ..good(key, now)? };
        if !is_read {
            own.check_page(headers).map_err(NoIdentity::NotHere)?;
        }
        Ok(identity)
    }

    /// The holder of a presented key.
    ///
    /// # Errors
    /// If it is unknown, or has expired.
    pub(crate) fn by_key(&self, policy: &Policy, presented: &str) -> Result<Identity, NoIdentity> {
        let key = policy.find(presented.trim()).ok_or(NoIdentity::UnknownKey)?;
        good(key, SystemTime::now())
    }

    /// The user of an account, as the policy has it now.
    ///
    /// # Errors
    /// If its key was removed or changed, or has expired.
    pub(crate) fn by_account(&self, policy: &Policy, account: &Account) -> Result<Identity, NoIdentity> {
        let key = account.key_in(policy).ok_or(NoIdentity::UnknownKey)?;
        Ok(Identity { user: account.user.clone(), ..good(key, SystemTime::now())? })
    }

    /// Whether somebody can sign in.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.on().map(drop)
    }

    /// The cookie for somebody who signs in at this origin, and its `Set-Cookie` header.
    ///
    /// # Errors
    /// Why nobody can sign in.
    pub(crate) fn cookie(&self, identity: Identity, own: &OwnOrigin) -> Result<(Identity, String), String> {
        let on = self.on()?;
        let account = Account::new(&identity.key, &identity.user);
        let cookie = Cookie::new(account, on.signed_out.epoch(&identity.user), SystemTime::now());
        let header = cookie.header(own, &on.keys);
        Ok((Identity { cookie: Some(cookie), ..identity }, header))
    }

    /// Signs out: one cookie, or its user everywhere.
    ///
    /// # Errors
    /// If that could not be stored.
    pub(crate) async fn sign_out(&self, identity: &Identity, everywhere: bool) -> Result<(), String> {
        let on = self.on()?;
        if everywhere {
            // A link that somebody else has got would bring one of them back.
            self.links.end_all(&identity.user);
        }
        let (user, cookie, now) = (identity.user.clone(), identity.cookie.clone(), SystemTime::now());
        let stored = tokio::task::spawn_blocking(move || match (everywhere, cookie) {
            (true, _) => on.signed_out.end_all(&user, now),
            (false, Some(cookie)) => on.signed_out.end(&cookie, now),
            (false, None) => Ok(()),
        });
        stored.await.map_err(|error| error.to_string())?
    }

    fn on(&self) -> Result<Arc<On>, String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The `Set-Cookie` header that removes the cookie of a request, if it brings one and a page of ours sends it: a page of
/// another site signs nobody out.
pub(crate) fn removal(origins: &OwnOrigins, headers: &HeaderMap) -> Option<String> {
    let own = origins.of(headers).ok().filter(|own| own.check_page(headers).is_ok())?;
    (bearer(headers).is_none() && cookie::is_there(headers)).then(|| cookie::removal(own))
}

/// The API key of a request, whether it is one or not. No browser sends it by itself.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

fn good(key: ApiKey, now: SystemTime) -> Result<Identity, NoIdentity> {
    match key.is_expired(now) {
        true => Err(NoIdentity::KeyExpired(key.name)),
        false => Ok(Identity::of_key(key)),
    }
}
