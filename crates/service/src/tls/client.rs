//! Client side of TLS: which certificates are trusted.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::explain::ExplainedCheck;
use super::pem::certificates;
use super::provider::{ALPN, provider};
use super::verifier::Verifier;

/// A client that trusts the system's roots, and those in `ca_file`.
///
/// # Errors
/// If the file cannot be read or has no certificate, or if there is no root at all.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let system = system_roots();
    if let Ok(certificates) = &system {
        // Roots that rustls cannot use are skipped.
        roots.add_parsable_certificates(certificates.iter().cloned());
    }
    match ca_file {
        None => drop(system?),
        Some(file) => {
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .with_context(|| format!("unusable CA certificate in {}", file.display()))?;
            }
        }
    }
    // The builder refuses an empty store, and this one has at least one root.
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier(ExplainedCheck(verifier))))
        .with_no_client_auth();
    Ok(with_alpn(config))
}

/// For a client that uses no TLS: it trusts no certificate, and needs no roots of the system.
///
/// # Errors
/// If rustls cannot be set up.
pub fn trusting_none() -> Result<Arc<ClientConfig>> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(with_alpn(config))
}

/// The certificates that this system trusts.
///
/// # Errors
/// If there is none, as on a Debian without ca-certificates.
pub fn system_roots() -> Result<Vec<CertificateDer<'static>>> {
    let native = rustls_native_certs::load_native_certs();
    if native.certs.is_empty() {
        let why = native.errors.first().map(|err| format!(" ({err})")).unwrap_or_default();
        bail!("no trusted root certificate on this host{why}: `apt install ca-certificates`, or set ca_file");
    }
    Ok(native.certs)
}

/// Why some of the system's certificates cannot be read. None if all can.
pub(crate) fn unreadable_roots() -> Option<String> {
    let native = rustls_native_certs::load_native_certs();
    native.errors.first().map(ToString::to_string)
}

fn with_alpn(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}
