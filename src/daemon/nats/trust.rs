//! Whose certificates are believed on the way to NATS, and which one we show. Files are read at every handshake, so
//! that renewed ones are used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tracing::warn;

use crate::daemon::tls;

/// The files of `[nats]` that have to do with TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// A client that believes certificates of these names only.
    ///
    /// # Errors
    /// When a file cannot be used now.
    pub fn client_config(&self, names: &[ServerName<'static>]) -> Result<ClientConfig> {
        roots(self.ca.as_deref())?;
        let verifier = Verifier { names: names.to_vec(), ca: self.ca.clone() };
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let ours = Ours { certificate: certificate.clone(), key: key.clone() };
                ours.read()?;
                builder.with_client_cert_resolver(Arc::new(ours))
            }
        };
        // A resumed connection would not be checked against files that have changed since.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Checks a certificate against configured names. An address that a server announced proves nothing by its own name:
/// whoever is on the way can announce a name that they have a certificate for.
#[derive(Debug)]
struct Verifier {
    names: Vec<ServerName<'static>>,
    ca: Option<PathBuf>,
}

impl Verifier {
    fn verify(
        &self,
        dialled: &ServerName<'_>,
        is_valid_for: impl Fn(&ServerName<'_>) -> Result<ServerCertVerified, Error>,
    ) -> Result<ServerCertVerified, Error> {
        if self.names.contains(&dialled.to_owned()) {
            return is_valid_for(dialled);
        }
        let mut last = Err(Error::General("no server is configured".into()));
        for name in &self.names {
            last = is_valid_for(name);
            if last.is_ok() {
                break;
            }
        }
        last.inspect_err(|error| {
            warn!(
                "NATS: {} was announced by a server, and its certificate is not valid for a name in nats.servers: {error}",
                dialled.to_str()
            );
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = roots(self.ca.as_deref()).map_err(|error| Error::General(format!("{error:#}")))?;
        let web = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        self.verify(dialled, |name| web.verify_server_cert(end_entity, intermediates, name, ocsp, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that we show.
#[derive(Debug)]
struct Ours {
    certificate: PathBuf,
    key: PathBuf,
}

impl Ours {
    fn read(&self) -> Result<CertifiedKey> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let chain = tls::certificates(&self.certificate)?;
        let private = PrivateKeyDer::from_pem_file(&self.key).with_context(|| format!("key_file {key}"))?;
        CertifiedKey::from_der(chain, private, &tls::provider())
            .with_context(|| format!("certificate {certificate} and key {key} do not work together"))
    }
}

impl ResolvesClientCert for Ours {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.read().map(Arc::new).inspect_err(|error| warn!("NATS: no certificate to show: {error:#}")).ok()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What is trusted: `ca_file` alone, or else the system's.
fn roots(ca: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(tls::system_roots()?);
        }
        Some(file) => {
            for certificate in tls::certificates(file)? {
                let added = roots.add(certificate);
                added.with_context(|| format!("unusable CA certificate in {}", file.display()))?;
            }
        }
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    /// The names that a certificate for `presented` was checked against, and whether one was right.
    fn checked(dialled: &'static str, presented: &'static str) -> (Vec<String>, bool) {
        let name = |text: &'static str| ServerName::try_from(text).unwrap();
        let verifier = Verifier { names: vec![name("a.test"), name("b.test")], ca: None };
        let asked = std::cell::RefCell::default();
        let result = verifier.verify(&name(dialled), |wanted| {
            let asked: &std::cell::RefCell<Vec<String>> = &asked;
            asked.borrow_mut().push(wanted.to_str().into_owned());
            match *wanted == name(presented) {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(CertificateError::NotValidForName.into()),
            }
        });
        (asked.into_inner(), result.is_ok())
    }

    #[test]
    fn an_announced_address_needs_a_configured_name_and_a_configured_one_its_own() {
        let both = || vec!["a.test".to_owned(), "b.test".to_owned()];
        assert_eq!(checked("10.0.0.2", "b.test"), (both(), true));
        // A certificate that is right for the announced name says nothing.
        assert_eq!(checked("evil.test", "evil.test"), (both(), false));
        assert_eq!(checked("10.0.0.2", "10.0.0.2"), (both(), false));
        let own = |name: &str| vec![name.to_owned()];
        assert_eq!(checked("a.test", "b.test"), (own("a.test"), false));
        assert_eq!(checked("A.TEST", "a.test"), (own("A.TEST"), true));
    }
}
