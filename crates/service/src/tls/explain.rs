//! Explains why a server's certificate is not trusted, with the names in the certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::format_rfc3339_seconds;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, OtherError};

use super::verifier::{CertificateCheck, is_ca_as_server};
use crate::certificate::{self, Names};

/// The decision of rustls, with an explained error.
#[derive(Debug)]
pub(super) struct ExplainedCheck(pub Arc<WebPkiServerVerifier>);

/// Why a certificate is not trusted.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Explanation {
    text: String,
    cause: CertificateError,
}

/// Why a certificate is not trusted, as rustls says it, also if the error is explained here.
pub fn certificate_error(error: &Error) -> Option<&CertificateError> {
    let Error::InvalidCertificate(why) = error else { return None };
    let CertificateError::Other(OtherError(cause)) = why else { return Some(why) };
    Some(cause.downcast_ref().map_or(why, |Explanation { cause, .. }| cause))
}

impl CertificateCheck for ExplainedCheck {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now).map_err(|error| {
            let Error::InvalidCertificate(cause) = error else { return error };
            Error::InvalidCertificate(
                match certificate::names(end_entity).and_then(|names| explain(&cause, &names)) {
                    Some(text) => CertificateError::Other(OtherError(Arc::new(Explanation { text, cause }))),
                    None => cause,
                },
            )
        })
    }
}

/// The text has rustls' name for the error, by which callers and users find it. None if rustls' own text is enough.
fn explain(why: &CertificateError, names: &Names) -> Option<String> {
    let Names { subject, issuer } = names;
    let date = |time: UnixTime| {
        format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())).to_string()
    };
    Some(match why {
        CertificateError::UnknownIssuer if subject == issuer => {
            format!("its certificate, {subject}, is self-signed and not trusted here (UnknownIssuer)")
        }
        CertificateError::UnknownIssuer => format!(
            "its certificate, {subject}, was issued by {issuer}, which is not trusted here (UnknownIssuer)"
        ),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate, {subject}, has expired: it was valid until {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let from = date(*not_before);
            format!(
                "its certificate, {subject}, is only valid from {from} on: is this machine's clock right? (NotValidYet)"
            )
        }
        other if is_ca_as_server(other) => format!(
            "its certificate, {subject}, is marked as an authority's own (CA:TRUE), as `openssl req -x509` makes it, and a \
             server may not show such a one: make one with -addext basicConstraints=critical,CA:FALSE (CaUsedAsEndEntity)"
        ),
        _ => return None,
    })
}
