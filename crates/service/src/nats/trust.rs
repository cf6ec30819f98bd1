//! Which certificates of NATS servers are trusted, and which one we present. Files are read at every handshake, so that
//! renewed ones are used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, RootCertStore, SignatureScheme};
use tracing::warn;

use crate::tls::{self, CertificateCheck, Verifier};

use super::addresses::Addresses;

/// The files of `[nats]` for TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// CA certificates, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// A client that trusts certificates only for these names.
    ///
    /// # Errors
    /// If a file cannot be used now.
    pub(super) fn client_config(
        &self,
        names: &[ServerName<'static>],
        addresses: Arc<Addresses>,
    ) -> Result<ClientConfig> {
        roots(self.ca.as_deref())?;
        let check = ConfiguredNames { names: names.to_vec(), addresses, ca: self.ca.clone() };
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier(check)));
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let identity = ClientIdentity { certificate: certificate.clone(), key: key.clone() };
                identity.read()?;
                builder.with_client_cert_resolver(Arc::new(identity))
            }
        };
        // A resumed connection would not be checked against files that have changed since.
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Checks a certificate against configured names. The name that a server announced is not enough: anyone between host
/// and server can announce a name for which they have a certificate.
#[derive(Debug)]
struct ConfiguredNames {
    names: Vec<ServerName<'static>>,
    addresses: Arc<Addresses>,
    ca: Option<PathBuf>,
}

impl ConfiguredNames {
    fn verify(
        &self,
        dialled: &ServerName<'_>,
        is_valid_for: impl Fn(&ServerName<'_>) -> Result<ServerCertVerified, Error>,
    ) -> Result<ServerCertVerified, Error> {
        if self.names.contains(&dialled.to_owned()) {
            return is_valid_for(dialled);
        }
        let any = |names: &[ServerName<'static>]| {
            let mut last = Err(Error::General("no server is configured".into()));
            for name in names {
                last = is_valid_for(name);
                if last.is_ok() {
                    break;
                }
            }
            last
        };
        // An address of a configured name stands for that name.
        if let ServerName::IpAddress(ip) = dialled
            && let names @ [_, ..] = &self.addresses.names((*ip).into())[..]
        {
            return any(names);
        }
        any(&self.names).inspect_err(|error| {
            warn!(
                "NATS: {} was announced by a server, and its certificate is not valid for a name in nats.servers: {error}",
                dialled.to_str()
            );
        })
    }
}

impl CertificateCheck for ConfiguredNames {
    fn check(
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
}

/// The certificate that we present.
#[derive(Debug)]
struct ClientIdentity {
    certificate: PathBuf,
    key: PathBuf,
}

impl ClientIdentity {
    fn read(&self) -> Result<CertifiedKey> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        let chain = tls::certificates(&self.certificate)?;
        let private = PrivateKeyDer::from_pem_file(&self.key).with_context(|| format!("key_file {key}"))?;
        CertifiedKey::from_der(chain, private, &tls::provider())
            .with_context(|| format!("certificate {certificate} and key {key} do not work together"))
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.read().map(Arc::new).inspect_err(|error| warn!("NATS: no certificate to show: {error:#}")).ok()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The trusted roots: only those of `ca_file` if it is set, else the system's.
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
        let verifier = ConfiguredNames {
            names: vec![name("a.test"), name("b.test")],
            addresses: Arc::default(),
            ca: None,
        };
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
        // A certificate for the announced name is not enough.
        assert_eq!(checked("evil.test", "evil.test"), (both(), false));
        assert_eq!(checked("10.0.0.2", "10.0.0.2"), (both(), false));
        let own = |name: &str| vec![name.to_owned()];
        assert_eq!(checked("a.test", "b.test"), (own("a.test"), false));
        assert_eq!(checked("A.TEST", "a.test"), (own("A.TEST"), true));
    }
}
