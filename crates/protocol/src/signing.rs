//! The platform's private key, which signs claims.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::grant::{Claims, to_be_signed};

/// DER of an Ed25519 private key, PKCS#8 version 1, up to the 32 seed bytes (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The platform's private key, an Ed25519 key with its `kid`.
pub struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A key from PKCS#8 (RFC 8410), with the `kid` under which verifiers find its public half.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_pkcs8(kid: &str, der: &[u8]) -> Result<SigningKey, &'static str> {
        // OpenSSL writes PKCS#8 version 1, which has no public key to check the private key against.
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| "not an Ed25519 private key")?;
        Ok(SigningKey { kid: kid.to_owned(), pair })
    }

    /// A new key, and its PKCS#8 for a file.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(kid: &str) -> Result<(SigningKey, Vec<u8>), &'static str> {
        // Not ring's own generate_pkcs8: it writes version 2, which OpenSSL 3.0 and Python cannot read.
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| "the system's random source failed")?;
        let der = [&PKCS8_PREFIX[..], &seed].concat();
        Ok((SigningKey::from_pkcs8(kid, &der)?, der))
    }

    /// The name under which verifiers find the public key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key, 32 bytes as in RFC 8032.
    pub fn public(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// Signs claims. The result is a grant as it is sent, a compact JWS.
    pub fn sign(&self, claims: &Claims) -> String {
        let signed = to_be_signed(claims, &self.kid);
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}
