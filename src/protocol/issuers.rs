//! The platform's keys: one private key to sign with, and public keys by `kid` to verify with.
//!
//! Several public keys live at once, so that a key can be rotated without a gap.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::command::{Code, Refusal};
use super::grant::{Grant, Parts};

/// DER of an Ed25519 `SubjectPublicKeyInfo` up to the 32 key bytes (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// DER of an Ed25519 private key, PKCS#8 version 1, up to the 32 seed bytes (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The public keys that grants are verified with.
#[derive(Clone, Default)]
pub struct Issuers {
    keys: HashMap<String, [u8; 32]>,
}

impl Issuers {
    /// Reads every `<kid>.pub` (PEM, Ed25519) in a directory.
    ///
    /// # Errors
    /// When the directory or one of its keys cannot be read: a key that is silently left out
    /// would look like a forged grant.
    pub fn read_dir(dir: &Path) -> Result<Issuers, KeyError> {
        let mut keys = HashMap::new();
        let entries = std::fs::read_dir(dir).map_err(|error| KeyError::new(dir, error))?;
        for entry in entries {
            let path = entry.map_err(|error| KeyError::new(dir, error))?.path();
            if path.extension().is_none_or(|extension| extension != "pub") {
                continue;
            }
            let Some(kid) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let pem = std::fs::read(&path).map_err(|error| KeyError::new(&path, error))?;
            let key = public_from_pem(&pem).map_err(|why| KeyError::new(&path, why))?;
            keys.insert(kid.to_owned(), key);
        }
        Ok(Issuers { keys })
    }

    /// One issuer, known without a file.
    pub fn of(key: &SigningKey) -> Issuers {
        Issuers { keys: HashMap::from([(key.kid().to_owned(), key.public())]) }
    }

    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no grant can be verified.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether what `key` signs is verified here.
    pub fn has(&self, key: &SigningKey) -> bool {
        self.keys.get(key.kid()) == Some(&key.public())
    }

    /// The `kid`s, sorted.
    pub fn kids(&self) -> Vec<&str> {
        let mut kids: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        kids.sort_unstable();
        kids
    }

    /// Verifies signature and form of a grant. Time, host and relay are the caller's to check.
    ///
    /// # Errors
    /// A refusal with one of the `Grant…` codes.
    pub fn verify(&self, jws: &str) -> Result<Grant, Refusal> {
        let parts = Parts::of(jws)?;
        let Some(key) = self.keys.get(&parts.kid) else {
            return Err(Refusal::new(
                Code::GrantUnknownIssuer,
                "no public key under the grant's kid in issuers.d",
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

/// The platform's private key.
pub struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Reads a private key (PEM, PKCS#8, Ed25519); its `kid` is the file's name without extension.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<SigningKey, KeyError> {
        let pem = std::fs::read(path).map_err(|error| KeyError::new(path, error))?;
        let kid = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("platform");
        SigningKey::from_pem(kid, &pem).map_err(|why| KeyError::new(path, why))
    }

    /// The same from PEM text.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_pem(kid: &str, pem: &[u8]) -> Result<SigningKey, &'static str> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| "not a PEM private key (PKCS#8)")?;
        // OpenSSL writes PKCS#8 version 1, without the public key: there is nothing to check it against.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|_| "not an Ed25519 private key")?;
        Ok(SigningKey { kid: kid.to_owned(), pair })
    }

    /// A new key, and its PEM to keep.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(kid: &str) -> Result<(SigningKey, String), &'static str> {
        // Not ring's own generate_pkcs8: it writes version 2, which OpenSSL 3.0 and Python cannot read.
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| "the system's random source failed")?;
        let pem = to_pem("PRIVATE KEY", &[&PKCS8_PREFIX[..], &seed].concat());
        Ok((SigningKey::from_pem(kid, pem.as_bytes())?, pem))
    }

    /// The name under which verifiers find the public key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as PEM, for `issuers.d/<kid>.pub`.
    pub fn public_pem(&self) -> String {
        to_pem("PUBLIC KEY", &[&SPKI_PREFIX[..], &self.public()].concat())
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    fn public(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// A key file that cannot be used.
#[derive(Debug)]
pub struct KeyError {
    path: PathBuf,
    why: String,
}

impl KeyError {
    fn new(path: &Path, why: impl fmt::Display) -> KeyError {
        KeyError { path: path.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for KeyError {}

fn public_from_pem(pem: &[u8]) -> Result<[u8; 32], &'static str> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| "not a PEM public key")?;
    let key = der.strip_prefix(&SPKI_PREFIX[..]).ok_or("not an Ed25519 public key")?;
    key.try_into().map_err(|_| "not an Ed25519 public key")
}

fn to_pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    // At most 64 characters of base64 a line (RFC 7468 section 2).
    let body: Vec<String> =
        der.chunks(48).map(|chunk| base64::engine::general_purpose::STANDARD.encode(chunk)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", body.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::grant::{Claims, MAX_LIFETIME, sign, unix};
    use super::super::token::Token;
    use super::*;

    fn claims() -> Claims {
        let now = unix(SystemTime::now());
        Claims {
            iss: "test".into(),
            aud: "host:h1".into(),
            sid: ulid::Ulid::generate().to_string(),
            iat: now,
            exp: now + 30,
            target: "t".into(),
            params: Default::default(),
            mode: None,
            relay: "wss://relay".into(),
            token_sha256: Token::generate().unwrap().hash(),
            max_streams: None,
            max_seconds: None,
            origin: vec![],
            user: None,
            cnf: None,
            relay_run: None,
        }
    }

    fn key() -> SigningKey {
        SigningKey::generate("k1").unwrap().0
    }

    fn refused(issuers: &Issuers, jws: &str) -> Code {
        issuers.verify(jws).unwrap_err().code
    }

    #[test]
    fn what_was_signed_comes_back_and_nothing_else_does() {
        let key = key();
        let issuers = Issuers::of(&key);
        let claims = claims();
        let jws = sign(&claims, &key);
        assert_eq!(issuers.verify(&jws).unwrap().claims(), &claims);

        let (signed, signature) = jws.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let other = sign(&Claims { target: "other".into(), ..claims.clone() }, &key);
        let other_payload = other.split('.').nth(1).unwrap();
        assert_eq!(refused(&issuers, &format!("{header}.{other_payload}.{signature}")), Code::GrantSignature);
        assert_eq!(refused(&Issuers::default(), &jws), Code::GrantUnknownIssuer);
        assert_eq!(refused(&Issuers::of(&self::key()), &jws), Code::GrantSignature);
        for bad in ["", "a", "a.b", "a.b.c", "..", &format!("{signed}."), &format!("{jws}.x")] {
            assert!(issuers.verify(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_algorithm_but_eddsa_is_refused_by_name() {
        use base64::Engine;
        let key = key();
        let jws = sign(&claims(), &key);
        let rest = jws.split_once('.').unwrap().1;
        for alg in ["none", "None", "HS256", "RS256", "eddsa"] {
            let header = format!(r#"{{"alg":"{alg}","typ":"stream-grant+jwt","kid":"k1"}}"#);
            let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
            assert_eq!(refused(&Issuers::of(&key), &format!("{header}.{rest}")), Code::GrantAlgorithm);
        }
    }

    #[test]
    fn time_host_and_lifetime_are_checked() {
        let key = key();
        let issuers = Issuers::of(&key);
        let grant = issuers.verify(&sign(&claims(), &key)).unwrap();
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
            issuers.verify(&sign(&Claims { iat: u64::MAX - 9, exp: u64::MAX, ..claims() }, &key)).unwrap();
        assert_eq!(last.check_time(now, leeway).unwrap_err().code, Code::GrantExpired);
        assert_eq!(last.time_left(now), MAX_LIFETIME);
        assert_eq!(grant.time_left(now + Duration::from_secs(99)), Duration::ZERO);

        let long = claims();
        let long = Claims { exp: long.iat + 61, ..long };
        assert_eq!(refused(&issuers, &sign(&long, &key)), Code::GrantExpired);
        let nobody = Claims { aud: "relay".into(), ..claims() };
        assert_eq!(refused(&issuers, &sign(&nobody, &key)), Code::GrantMalformed);
    }

    #[test]
    fn openssl_reads_a_generated_key_and_finds_the_same_public_key() {
        let dir = tempfile::tempdir().unwrap();
        let (key, pem) = SigningKey::generate("k1").unwrap();
        let file = dir.path().join("k1.pem");
        std::fs::write(&file, pem).unwrap();
        let openssl =
            std::process::Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(file).output();
        let openssl = openssl.unwrap();
        assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
        assert_eq!(String::from_utf8(openssl.stdout).unwrap(), key.public_pem());
    }

    #[test]
    fn keys_are_read_from_a_directory_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (key, pem) = SigningKey::generate("k1").unwrap();
        std::fs::write(dir.path().join("k1.pub"), key.public_pem()).unwrap();
        std::fs::write(dir.path().join("README"), "not a key").unwrap();
        std::fs::write(dir.path().join("k1.pem"), pem).unwrap();
        let issuers = Issuers::read_dir(dir.path()).unwrap();
        assert_eq!(issuers.kids(), ["k1"]);
        let again = SigningKey::read(&dir.path().join("k1.pem")).unwrap();
        assert!(issuers.verify(&sign(&claims(), &again)).is_ok());

        std::fs::write(dir.path().join("k2.pub"), "nonsense").unwrap();
        let error = Issuers::read_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("k2.pub") && error.contains("not a PEM public key"), "{error}");
    }
}
