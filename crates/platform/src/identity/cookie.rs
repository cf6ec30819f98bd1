//! The cookie of a browser that has signed in: who it is, under a key that only the relay has. The relay keeps nothing
//! for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{COOKIE, HeaderMap};
use serde::{Deserialize, Serialize};

use protocol::grant::unix;

use super::account::Account;
use super::origin::OwnOrigin;
use super::sign_in_key::SignInKeys;

/// How long a cookie is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The largest cookie that is looked at, in bytes: two names of 256 bytes, as JSON in base64.
const MOST: usize = 4096;

/// What a cookie says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cookie {
    #[serde(flatten)]
    pub account: Account,
    /// A ULID. Signing out ends this one.
    pub id: String,
    /// When its user signed out everywhere for the last time, in milliseconds since 1970; 0 if that is long ago.
    pub epoch: u64,
    /// In seconds since 1970.
    pub iat: u64,
    /// In seconds since 1970.
    pub exp: u64,
}

impl Cookie {
    /// A cookie from `now` on.
    pub(super) fn new(account: Account, epoch: u64, now: SystemTime) -> Cookie {
        let iat = unix(now);
        Cookie { account, id: ulid::Ulid::generate().to_string(), epoch, iat, exp: iat + LIFETIME.as_secs() }
    }

    pub(crate) fn expires(&self) -> SystemTime {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.exp)).unwrap_or(UNIX_EPOCH)
    }

    /// The cookie that a request brings for this origin, if the relay has signed it. Nothing else was checked.
    pub(super) fn received(headers: &HeaderMap, own: &OwnOrigin, keys: &SignInKeys) -> Option<Cookie> {
        values(headers, name(own)).find_map(|value| {
            let (body, tag) = value.split_once('.').filter(|_| value.len() <= MOST)?;
            let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
            if !keys.is_signature(message(own, body).as_bytes(), &tag) {
                return None;
            }
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
        })
    }

    /// The value of the `Set-Cookie` header.
    pub(super) fn header(&self, own: &OwnOrigin, keys: &SignInKeys) -> String {
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let tag = URL_SAFE_NO_PAD.encode(keys.sign(message(own, &body).as_bytes()));
        set(own, &format!("{body}.{tag}"), self.exp.saturating_sub(self.iat))
    }
}

/// The value of the `Set-Cookie` header that removes it.
pub(super) fn removal(own: &OwnOrigin) -> String {
    set(own, "", 0)
}

/// Whether a request brings a cookie of this relay, good or not.
pub(super) fn is_there(headers: &HeaderMap) -> bool {
    NAMES.iter().any(|name| values(headers, name).next().is_some())
}

/// With TLS, and without. Browsers take the first only from this very host, and only with TLS.
const NAMES: [&str; 2] = ["__Host-stream", "stream-loopback"];

fn name(own: &OwnOrigin) -> &'static str {
    NAMES[usize::from(!own.is_tls())]
}

/// What is signed. The name is part of it: a cookie from a connection without TLS is good for nothing else.
fn message(own: &OwnOrigin, body: &str) -> String {
    format!("{}={body}", name(own))
}

fn set(own: &OwnOrigin, value: &str, seconds: u64) -> String {
    let (name, secure) = (name(own), if own.is_tls() { "; Secure" } else { "" });
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly{secure}; SameSite=Strict")
}

/// The values of the cookies with this name.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use hyper::header::{HOST, HeaderValue};

    use super::super::origin::OwnOrigins;
    use super::*;

    fn keys() -> SignInKeys {
        SignInKeys::open(tempfile::tempdir().unwrap().path(), SystemTime::now()).unwrap()
    }

    fn own(url: &str) -> OwnOrigin {
        let host = url.split("//").nth(1).unwrap();
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        OwnOrigins::new(&[url.to_owned()]).of(&headers).unwrap().clone()
    }

    fn cookie() -> Cookie {
        let account = Account { key: "me".into(), print: "0011".into(), user: "Ünal; =\"".into() };
        Cookie::new(account, 7, SystemTime::now())
    }

    fn brought(line: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(line).unwrap())])
    }

    #[test]
    fn a_cookie_comes_back_as_it_was_given() {
        let (keys, own, cookie) = (keys(), own("wss://a"), cookie());
        let header = cookie.header(&own, &keys);
        let (pair, rest) = header.split_once("; ").unwrap();
        assert_eq!(rest, "Path=/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict");
        assert!(pair.starts_with("__Host-stream="), "{pair}");
        let among_others = brought(&format!("a=b; __Host-stream=x.y;{pair}; c"));
        assert_eq!(Cookie::received(&among_others, &own, &keys), Some(cookie));
        assert!(removal(&own).starts_with("__Host-stream=; Path=/; Max-Age=0;"));
    }

    #[test]
    fn what_was_changed_or_is_of_another_relay_is_none() {
        let (keys, own, cookie) = (keys(), own("wss://a"), cookie());
        let header = cookie.header(&own, &keys);
        let pair = header.split(';').next().unwrap();
        let good = |pair: &str| Cookie::received(&brought(pair), &own, &keys).is_some();
        assert!(good(pair));
        for at in ["__Host-stream=".len(), pair.len() / 2, pair.len() - 2] {
            let mut changed = pair.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!good(&String::from_utf8(changed).unwrap()), "{at}");
        }
        for bad in ["__Host-stream=", "__Host-stream=.", "__Host-stream=e30.", "stream=x", "__Host-stream"] {
            assert!(!good(bad), "{bad}");
        }
        assert!(!good(&pair.replace("__Host-stream", "stream-loopback")));
        assert!(Cookie::received(&brought(pair), &own, &self::keys()).is_none());
    }

    #[test]
    fn without_tls_it_has_another_name_and_is_good_only_there() {
        let (keys, tls, loopback) = (keys(), own("wss://127.0.0.1"), own("ws://127.0.0.1"));
        let header = cookie().header(&loopback, &keys);
        assert!(header.starts_with("stream-loopback=") && !header.contains("Secure"), "{header}");
        let pair = header.split(';').next().unwrap();
        assert!(Cookie::received(&brought(pair), &loopback, &keys).is_some());
        let renamed = pair.replace("stream-loopback", "__Host-stream");
        assert!(Cookie::received(&brought(&renamed), &tls, &keys).is_none());
    }
}
