//! The files with issuers' keys: PEM, one key each, named after its `kid`.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use protocol::issuers::Issuers;
use protocol::signing::SigningKey;

/// DER of an Ed25519 `SubjectPublicKeyInfo` up to the 32 key bytes (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Reads every `<kid>.pub` (PEM, Ed25519) in a directory.
///
/// # Errors
/// If the directory or one of its keys cannot be read. Without that key, its grants would look forged.
pub fn read_issuers(dir: &Path) -> Result<Issuers, KeyError> {
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
    Ok(Issuers::new(keys))
}

/// Reads a private key (PEM, PKCS#8, Ed25519). Its `kid` is the file's name without extension.
///
/// # Errors
/// If the file cannot be read, or is something else.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, KeyError> {
    let pem = std::fs::read(path).map_err(|error| KeyError::new(path, error))?;
    let kid = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("platform");
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .map_err(|_| "not a PEM private key (PKCS#8)")
        .and_then(|der| SigningKey::from_pkcs8(kid, der.secret_pkcs8_der()));
    key.map_err(|why| KeyError::new(path, why))
}

/// The public key as PEM, for `issuers.d/<kid>.pub`.
pub fn public_pem(key: &SigningKey) -> String {
    to_pem("PUBLIC KEY", &[&SPKI_PREFIX[..], &key.public()].concat())
}

/// A private key as PEM, from its PKCS#8.
pub fn private_pem(der: &[u8]) -> String {
    to_pem("PRIVATE KEY", der)
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct KeyError {
    path: PathBuf,
    why: String,
}

impl KeyError {
    fn new(path: &Path, why: impl fmt::Display) -> KeyError {
        KeyError { path: path.to_owned(), why: why.to_string() }
    }
}

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
    use super::*;

    fn generated(kid: &str) -> (SigningKey, String) {
        let (key, der) = SigningKey::generate(kid).unwrap();
        (key, private_pem(&der))
    }

    #[test]
    fn keys_are_read_from_a_directory_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let (key, pem) = generated("k1");
        std::fs::write(dir.path().join("k1.pub"), public_pem(&key)).unwrap();
        std::fs::write(dir.path().join("README"), "not a key").unwrap();
        std::fs::write(dir.path().join("k1.pem"), pem).unwrap();
        let issuers = read_issuers(dir.path()).unwrap();
        assert_eq!(issuers.kids(), ["k1"]);
        let again = read_signing_key(&dir.path().join("k1.pem")).unwrap();
        assert!(issuers.has(&again));

        std::fs::write(dir.path().join("k2.pub"), "nonsense").unwrap();
        let error = read_issuers(dir.path()).unwrap_err().to_string();
        assert!(error.contains("k2.pub") && error.contains("not a PEM public key"), "{error}");
    }
}
