//! Certificates and keys in PEM files.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::secret::Secret;

/// # Errors
/// If the file cannot be read, or has no certificate.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(file).with_context(|| format!("cannot read certificate {}", file.display()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot parse certificate {}", file.display()))?;
    if found.is_empty() {
        bail!("no certificate in {}", file.display());
    }
    Ok(found)
}

/// # Errors
/// If the file cannot be read, other users can read it, or it has no key.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let path = file.to_str().with_context(|| format!("the name {} is not UTF-8", file.display()))?;
    let pem = Secret::read(path)?;
    PrivateKeyDer::from_pem_slice(pem.expose().as_bytes())
        .with_context(|| format!("no private key in {path}"))
}
