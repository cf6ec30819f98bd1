//! Server side of TLS: a certificate that can be replaced while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pem::{certificates, private_key};
use super::provider::{ALPN, provider};
use crate::certificate::{self, Chain};

/// A server whose certificate can be replaced without dropping a connection.
#[derive(Debug)]
pub struct ReloadingServer {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

impl ReloadingServer {
    /// Reads a certificate chain and its key from PEM files.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, if other users can read the key file, or if certificate and key do not
    /// belong together.
    pub fn new(certificate: &Path, key: &Path) -> Result<ReloadingServer> {
        let current = Arc::new(Current(RwLock::new(Arc::new(pair(certificate, key)?))));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ignore_client_order = true;
        // Tickets let any number of hosts resume. The server's own cache would have only 256 sessions.
        config.ticketer = ring::Ticketer::new().context("make a key for session tickets")?;
        Ok(ReloadingServer {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current,
            config: Arc::new(config),
        })
    }

    /// It stays valid for the server's whole life: handshakes after a reload use the new pair.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// What is in the certificates that handshakes use now.
    pub fn chain(&self, now: SystemTime) -> Chain {
        certificate::chain(&self.current.0.read().unwrap_or_else(PoisonError::into_inner).cert, now)
    }

    /// Reads both files again.
    ///
    /// # Errors
    /// As [`new`](ReloadingServer::new). Then the old pair stays in use.
    pub fn reload(&self) -> Result<()> {
        let pair = pair(&self.certificate, &self.key).context("keeping the old certificate")?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
        Ok(())
    }
}

/// The pair that handshakes use now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey> {
    let chain = certificates(certificate)?;
    let private = private_key(key)?;
    CertifiedKey::from_der(chain, private, &provider()).with_context(|| {
        format!("certificate {} and key {} do not work together", certificate.display(), key.display())
    })
}
