//! The login to NATS. Its files are read for each connect, so that a renewed one is used.

use anyhow::{Context, Result, bail};
use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;

use crate::secret::Secret;

/// The lengths of a nonce that is signed. nats-server sends 11 or 22 characters.
const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 8..=64;

/// One way to log in, with the files that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    None,
    /// A credentials file, with a JWT and its key.
    Creds(String),
    /// A file with the seed of an nkey.
    Nkey(String),
    /// A user, and a file with the password.
    Password {
        user: String,
        file: String,
    },
    /// A file with a token.
    Token(String),
}

impl Login {
    /// The name of the secret that this login sends without encryption of its own.
    pub(super) fn secret_in_clear(&self) -> Option<&'static str> {
        match self {
            Login::Password { .. } => Some("the password"),
            Login::Token(_) => Some("the token"),
            Login::None | Login::Creds(_) | Login::Nkey(_) => None,
        }
    }

    /// The public key of the key that signs nonces, if there is one and it can be read now.
    pub(super) fn public_key(&self) -> Option<String> {
        let key = match self {
            Login::Nkey(file) => key_pair(file).ok()?,
            Login::Creds(file) => Credentials::read(file).ok()?.key,
            Login::None | Login::Password { .. } | Login::Token(_) => return None,
        };
        Some(key.public_key())
    }

    /// # Errors
    /// If a file cannot be read now. Later connects read it again, and may fail then.
    pub(super) fn options(&self) -> Result<ConnectOptions> {
        if *self == Login::None {
            return Ok(ConnectOptions::new());
        }
        self.auth(b"")?;
        let login = self.clone();
        Ok(ConnectOptions::with_auth_callback(move |nonce| {
            let auth = login.auth(&nonce).map_err(|error| AuthError::new(format!("no login: {error:#}")));
            async move { auth }
        }))
    }

    fn auth(&self, nonce: &[u8]) -> Result<Auth> {
        let mut auth = Auth::new();
        match self {
            Login::None => {}
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

/// Signs what the server sends only if it looks like a nonce, so that the signature is good for this login only. Without
/// a nonce there is no signature.
fn sign(key: &KeyPair, nonce: &[u8]) -> Result<Option<Vec<u8>>> {
    if nonce.is_empty() {
        return Ok(None);
    }
    let is_nonce = NONCE_LENGTHS.contains(&nonce.len())
        && nonce.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_nonce {
        bail!(
            "the server's nonce is not {} to {} of A-Z a-z 0-9 _ -: not signed",
            NONCE_LENGTHS.start(),
            NONCE_LENGTHS.end()
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
/// If the file cannot be read, or is not a seed.
pub fn key_pair(file: &str) -> Result<KeyPair> {
    KeyPair::from_seed(Secret::read(file)?.expose().trim())
        .with_context(|| format!("{file}: not an nkey seed"))
}

/// The first line after `-----BEGIN label-----` in a credentials file.
fn between<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("BEGIN {label}"))?;
    rest.lines().skip(1).map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_is_parsed() {
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
