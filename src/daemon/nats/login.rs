//! How we say to NATS who we are. Files are read on every connect, so that a renewed one is used.

use anyhow::{Context, Result, bail};
use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;
use tracing::warn;

use crate::daemon::secret::Secret;

/// Characters of a nonce that is signed; nats-server sends 11 or 22 of them.
const NONCE: std::ops::RangeInclusive<usize> = 8..=64;

/// One way to log in, with the files that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    Nobody,
    /// A credentials file: a JWT and its key.
    Creds(String),
    /// The seed of an nkey.
    Nkey(String),
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// Holds the password.
        file: String,
    },
    /// One token.
    Token(String),
}

impl Login {
    /// What whoever reads along could log in with, in words.
    pub fn secret_in_clear(&self) -> Option<&'static str> {
        match self {
            Login::Password { .. } => Some("the password"),
            Login::Token(_) => Some("the token"),
            Login::Nobody | Login::Creds(_) | Login::Nkey(_) => None,
        }
    }

    /// The public half of the key that signs nonces, if there is one that can be read now.
    pub fn public_key(&self) -> Option<String> {
        let key = match self {
            Login::Nkey(file) => key_pair(file).ok()?,
            Login::Creds(file) => Credentials::read(file).ok()?.key,
            Login::Nobody | Login::Password { .. } | Login::Token(_) => return None,
        };
        Some(key.public_key())
    }

    /// Options that log in like this.
    ///
    /// # Errors
    /// When a file cannot be read now; later that is tried again.
    pub fn options(&self) -> Result<ConnectOptions> {
        if *self == Login::Nobody {
            return Ok(ConnectOptions::new());
        }
        self.auth(b"")?;
        let login = self.clone();
        Ok(ConnectOptions::with_auth_callback(move |nonce| {
            let auth = login.auth(&nonce).map_err(|error| {
                // The library keeps the cause to itself.
                warn!("NATS: no login: {error:#}");
                AuthError::new(format!("{error:#}"))
            });
            async move { auth }
        }))
    }

    fn auth(&self, nonce: &[u8]) -> Result<Auth> {
        let mut auth = Auth::new();
        match self {
            Login::Nobody => {}
            Login::Token(file) => auth.token = Some(Secret::read(file)?.expose().to_owned()),
            Login::Password { user, file } => {
                auth.username = Some(user.clone());
                auth.password = Some(Secret::read(file)?.expose().to_owned());
            }
            Login::Nkey(file) => {
                let key = key_pair(file)?;
                auth.signature = sign(&key, nonce).with_context(|| file.clone())?;
                auth.nkey = Some(key.public_key());
            }
            Login::Creds(file) => {
                let credentials = Credentials::read(file)?;
                auth.signature = sign(&credentials.key, nonce).with_context(|| file.clone())?;
                auth.jwt = Some(credentials.jwt);
            }
        }
        Ok(auth)
    }
}

/// Signs what a server asks us to, if that is a nonce and nothing else: a signature must not be good for anything but
/// this login. A server that asks for none gets none.
fn sign(key: &KeyPair, nonce: &[u8]) -> Result<Option<Vec<u8>>> {
    if nonce.is_empty() {
        return Ok(None);
    }
    let is_nonce = NONCE.contains(&nonce.len())
        && nonce.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_nonce {
        bail!(
            "the server's nonce is not {} to {} of A-Z a-z 0-9 _ -: not signed",
            NONCE.start(),
            NONCE.end()
        );
    }
    Ok(Some(key.sign(nonce).context("cannot sign")?))
}

struct Credentials {
    jwt: String,
    key: KeyPair,
}

impl Credentials {
    fn read(file: &str) -> Result<Credentials> {
        let secret = Secret::read(file)?;
        let part = |label: &str| {
            between(secret.expose(), label).with_context(|| format!("{file}: no {label} in it"))
        };
        let key = KeyPair::from_seed(part("USER NKEY SEED")?).with_context(|| format!("{file}: bad seed"))?;
        Ok(Credentials { jwt: part("NATS USER JWT")?.to_owned(), key })
    }
}

/// Reads an nkey seed file, such as the key of a host.
///
/// # Errors
/// When the file cannot be read or holds no seed.
pub fn key_pair(file: &str) -> Result<KeyPair> {
    KeyPair::from_seed(Secret::read(file)?.expose().trim())
        .with_context(|| format!("{file}: not an nkey seed"))
}

/// What stands between `-----BEGIN label-----` and the next line of dashes in a credentials file.
fn between<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("BEGIN {label}"))?;
    rest.lines().skip(1).map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_is_taken_apart() {
        let creds = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n\nIMPORTANT\n\n\
                     -----BEGIN USER NKEY SEED-----\nSUX\n------END USER NKEY SEED------\n";
        assert_eq!(between(creds, "NATS USER JWT"), Some("abc"));
        assert_eq!(between(creds, "USER NKEY SEED"), Some("SUX"));
        assert_eq!(between("", "USER NKEY SEED"), None);
    }

    #[test]
    fn only_a_nonce_is_signed() {
        let key = KeyPair::new_user();
        let long = "a".repeat(65);
        for text in [
            "abc",
            "1234567",
            &long,
            "stream-proof-v1\nabc",
            "aaaa.bbbb",
            "abcdefg=",
            "abcdefg ",
            "äääääääää",
        ] {
            assert!(sign(&key, text.as_bytes()).is_err(), "{text:?}");
        }
        for text in ["12345678", "abcdef-_ABC", &long[1..]] {
            assert!(sign(&key, text.as_bytes()).unwrap().is_some(), "{text:?}");
        }
        assert_eq!(sign(&key, b"").unwrap(), None);
    }
}
