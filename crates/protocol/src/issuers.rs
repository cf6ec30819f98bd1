//! The public keys that verify grants, by `kid`. Several can be valid at once, so that a key can be rotated without a
//! gap.

use std::collections::HashMap;
use std::fmt;

use ring::signature::{ED25519, UnparsedPublicKey};

use super::command::{Code, Refusal};
use super::grant::{Grant, Parts};
use super::plain::plain;
use super::signing::SigningKey;

/// How many bytes of an unknown `kid` an error quotes.
const MAX_KID: usize = 64;

/// The public keys that verify grants.
#[derive(Clone, Default)]
pub struct Issuers {
    keys: HashMap<String, [u8; 32]>,
}

impl Issuers {
    /// Issuers with these public keys, by `kid`.
    pub fn new(keys: HashMap<String, [u8; 32]>) -> Issuers {
        Issuers { keys }
    }

    /// One issuer, with the public half of `key`.
    pub fn from_key(key: &SigningKey) -> Issuers {
        Issuers { keys: HashMap::from([(key.kid().to_owned(), key.public())]) }
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no grant can be verified.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether these keys verify what `key` signs.
    pub fn has(&self, key: &SigningKey) -> bool {
        self.keys.get(key.kid()) == Some(&key.public())
    }

    /// The `kid`s in sorted order.
    pub fn kids(&self) -> Vec<&str> {
        let mut kids: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        kids.sort_unstable();
        kids
    }

    /// Verifies the signature and the form of a grant. The caller checks time, host and relay.
    ///
    /// # Errors
    /// A refusal with one of the `Grant…` codes.
    pub fn verify(&self, jws: &str) -> Result<Grant, Refusal> {
        let parts = Parts::parse(jws)?;
        let Some(key) = self.keys.get(&parts.kid) else {
            // Not verified, so the kid may contain anything.
            let kid = plain(&parts.kid, MAX_KID);
            return Err(Refusal::new(
                Code::GrantUnknownIssuer,
                format!("the grant is signed with the key {kid}, whose public key is not known here"),
            ));
        };
        UnparsedPublicKey::new(&ED25519, key)
            .verify(parts.signed.as_bytes(), &parts.signature)
            .map_err(|_| Refusal::new(Code::GrantSignature, "the grant's signature does not verify"))?;
        Grant::from_parts(parts, jws)
    }
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::grant::{Claims, MAX_LIFETIME};
    use super::*;
    use crate::testing::claims;

    fn key() -> SigningKey {
        SigningKey::generate("k1").unwrap().0
    }

    fn refused(issuers: &Issuers, jws: &str) -> Code {
        issuers.verify(jws).unwrap_err().code
    }

    #[test]
    fn what_was_signed_comes_back_and_nothing_else_does() {
        let key = key();
        let issuers = Issuers::from_key(&key);
        let claims = claims();
        let jws = key.sign(&claims);
        assert_eq!(issuers.verify(&jws).unwrap().claims(), &claims);

        let (signed, signature) = jws.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let other = key.sign(&Claims { target: "other".into(), ..claims.clone() });
        let other_payload = other.split('.').nth(1).unwrap();
        assert_eq!(refused(&issuers, &format!("{header}.{other_payload}.{signature}")), Code::GrantSignature);
        assert_eq!(refused(&Issuers::default(), &jws), Code::GrantUnknownIssuer);
        assert_eq!(refused(&Issuers::from_key(&self::key()), &jws), Code::GrantSignature);
        for bad in ["", "a", "a.b", "a.b.c", "..", &format!("{signed}."), &format!("{jws}.x")] {
            assert!(issuers.verify(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_algorithm_but_eddsa_is_refused_by_name() {
        use base64::Engine;
        let key = key();
        let jws = key.sign(&claims());
        let rest = jws.split_once('.').unwrap().1;
        for alg in ["none", "None", "HS256", "RS256", "eddsa"] {
            let header = format!(r#"{{"alg":"{alg}","typ":"stream-grant+jwt","kid":"k1"}}"#);
            let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
            assert_eq!(refused(&Issuers::from_key(&key), &format!("{header}.{rest}")), Code::GrantAlgorithm);
        }
    }

    #[test]
    fn time_host_and_lifetime_are_checked() {
        let key = key();
        let issuers = Issuers::from_key(&key);
        let grant = issuers.verify(&key.sign(&claims())).unwrap();
        let leeway = Duration::from_secs(5);
        let now = SystemTime::now();
        assert!(grant.check_time(now, leeway).is_ok());
        assert!(grant.check_time(now + Duration::from_secs(34), leeway).is_ok());
        for wrong in [now + Duration::from_secs(37), now - Duration::from_secs(7)] {
            assert_eq!(grant.check_time(wrong, leeway).unwrap_err().code, Code::GrantExpired);
        }
        assert!(grant.check_host(&"h1".parse().unwrap()).is_ok());
        assert_eq!(grant.check_host(&"h2".parse().unwrap()).unwrap_err().code, Code::GrantAudience);

        let last =
            issuers.verify(&key.sign(&Claims { iat: u64::MAX - 9, exp: u64::MAX, ..claims() })).unwrap();
        assert_eq!(last.check_time(now, leeway).unwrap_err().code, Code::GrantExpired);
        assert_eq!(last.time_left(now), MAX_LIFETIME);
        assert_eq!(grant.time_left(now + Duration::from_secs(99)), Duration::ZERO);

        let long = claims();
        let long = Claims { exp: long.iat + 61, ..long };
        assert_eq!(refused(&issuers, &key.sign(&long)), Code::GrantExpired);
        let nobody = Claims { aud: "relay".into(), ..claims() };
        assert_eq!(refused(&issuers, &key.sign(&nobody)), Code::GrantMalformed);
    }
}
