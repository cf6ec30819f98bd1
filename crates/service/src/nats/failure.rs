//! Why a connect to a server failed, as a log line with a remedy.

use std::error::Error;
use std::fmt;
use std::io;

use async_nats::{ConnectError, ConnectErrorKind};
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::tls::is_ca_as_server;

/// The kinds of failure that have a remedy of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// What answers does not speak TLS.
    NotTls,
    /// The certificate has none of the configured names.
    OtherName,
    /// The server presents a certificate that is marked as a CA's.
    CaAsServer,
    /// The signer of the certificate is not trusted.
    UnknownIssuer,
    /// The certificate has expired, or is not valid yet.
    Date,
    /// The server wants a certificate of ours, or does not accept it.
    OurCertificate,
    /// The server does not know the login.
    Login,
    /// There was no login, because one of our own files cannot be used.
    OwnFiles,
    /// A server's name has no address.
    NoAddress,
    /// Nothing listens at the port.
    Refused,
    /// None of several addresses accepts connections.
    NoneAnswers,
    TimedOut,
    /// What answers is not a NATS server, or is one that begins with TLS.
    NotNats,
    /// Any other. The library's text says what.
    Other,
}

/// Parts of a library's text, and what they mean. The first that is there counts.
const SIGNS: [(&str, ConnectFailure); 21] = [
    // Of several addresses each has its own reason.
    ("connect to ", ConnectFailure::NoneAnswers),
    ("InvalidContentType", ConnectFailure::NotTls),
    ("not valid for name", ConnectFailure::OtherName),
    ("NotValidForName", ConnectFailure::OtherName),
    ("CaUsedAsEndEntity", ConnectFailure::CaAsServer),
    ("UnknownIssuer", ConnectFailure::UnknownIssuer),
    ("certificate expired", ConnectFailure::Date),
    ("Expired", ConnectFailure::Date),
    ("not valid yet", ConnectFailure::Date),
    ("NotValidYet", ConnectFailure::Date),
    ("CertificateRequired", ConnectFailure::OurCertificate),
    ("BadCertificate", ConnectFailure::OurCertificate),
    ("uthorization violation", ConnectFailure::Login),
    ("uthorization Violation", ConnectFailure::Login),
    ("failed signing nonce", ConnectFailure::OwnFiles),
    ("DNS error", ConnectFailure::NoAddress),
    ("onnection refused", ConnectFailure::Refused),
    ("timed out", ConnectFailure::TimedOut),
    ("expected INFO", ConnectFailure::NotNats),
    ("invalid peer certificate", ConnectFailure::UnknownIssuer),
    ("", ConnectFailure::Other),
];

impl ConnectFailure {
    /// Classifies an error of the library.
    pub fn from_error(error: &ConnectError) -> ConnectFailure {
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation => ConnectFailure::Login,
            ConnectErrorKind::Authentication => ConnectFailure::OwnFiles,
            ConnectErrorKind::Dns => ConnectFailure::NoAddress,
            ConnectErrorKind::TimedOut => ConnectFailure::TimedOut,
            _ => from_causes(error).unwrap_or_else(|| ConnectFailure::from_text(&error.to_string())),
        }
    }

    /// Classifies the text of an error: of a failed try in the background, the library keeps nothing else.
    pub fn from_text(text: &str) -> ConnectFailure {
        SIGNS
            .iter()
            .find(|(sign, _)| text.contains(sign))
            .map_or(ConnectFailure::Other, |(_, failure)| *failure)
    }

    /// What was wrong. `text` is the library's.
    pub fn describe(self, text: &str) -> String {
        let description = match self {
            ConnectFailure::NotTls => "the server does not speak TLS at that port",
            ConnectFailure::CaAsServer => {
                "the server shows a CA's own certificate (self-signed with CA:TRUE), which no client accepts from a server"
            }
            ConnectFailure::UnknownIssuer => {
                "the server's certificate is not signed by a CA that is trusted here"
            }
            ConnectFailure::OurCertificate => {
                "the server wants a client certificate, and does not accept ours"
            }
            ConnectFailure::Login => "the server refuses the login",
            ConnectFailure::NoAddress => "the name of the server has no address",
            ConnectFailure::Refused => "connection refused",
            ConnectFailure::TimedOut => "no answer in time",
            ConnectFailure::NotNats => "no NATS server answers at that port, or one that begins with TLS",
            ConnectFailure::NoneAnswers
            | ConnectFailure::OtherName
            | ConnectFailure::Date
            | ConnectFailure::OwnFiles
            | ConnectFailure::Other => {
                return plain(text).to_owned();
            }
        };
        description.to_owned()
    }

    /// What to do about it.
    fn remedy(self) -> Option<&'static str> {
        Some(match self {
            ConnectFailure::NotTls => "use nats:// in servers, or set up TLS on the server",
            ConnectFailure::OtherName => "write in servers a name that the certificate has",
            ConnectFailure::CaAsServer => {
                "make the server a certificate with basicConstraints=critical,CA:FALSE, and name it, or the CA that \
                 signed it, as ca_file in [nats]"
            }
            ConnectFailure::UnknownIssuer => "name the file with that CA's certificate as ca_file in [nats]",
            ConnectFailure::Date => "renew the server's certificate, or set this machine's clock",
            ConnectFailure::OurCertificate => "set cert_file and key_file in [nats]",
            ConnectFailure::Login => "check the credentials in [nats]",
            ConnectFailure::NoAddress
            | ConnectFailure::Refused
            | ConnectFailure::NoneAnswers
            | ConnectFailure::TimedOut => "check servers in [nats], and that the server runs",
            ConnectFailure::NotNats => "check servers in [nats], and tls_first if the server begins with TLS",
            ConnectFailure::OwnFiles | ConnectFailure::Other => return None,
        })
    }
}

/// Looks through the causes for an error that says more than the library's kind.
fn from_causes(error: &ConnectError) -> Option<ConnectFailure> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(failure) = from_cause(error) {
            return Some(failure);
        }
        // `source` of an I/O error skips the error inside it.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn from_cause(error: &(dyn Error + 'static)) -> Option<ConnectFailure> {
    if let Some(error) = error.downcast_ref() {
        return from_tls(error);
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(ConnectFailure::Refused),
        io::ErrorKind::TimedOut => Some(ConnectFailure::TimedOut),
        _ => None,
    }
}

fn from_tls(error: &rustls::Error) -> Option<ConnectFailure> {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Message};
    Some(match error {
        Message(InvalidMessage::InvalidContentType) => ConnectFailure::NotTls,
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            ConnectFailure::OurCertificate
        }
        InvalidCertificate(error) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ConnectFailure::OtherName
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => ConnectFailure::Date,
            error if is_ca_as_server(error) => ConnectFailure::CaAsServer,
            _ => ConnectFailure::UnknownIssuer,
        },
        _ => return None,
    })
}

/// The log line of a failed try.
pub(super) struct FailedTry<'a> {
    pub server: &'a str,
    pub text: &'a str,
}

impl fmt::Display for FailedTry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failure = ConnectFailure::from_text(self.text);
        write!(f, "cannot connect to {}: {}", self.server, failure.describe(self.text))?;
        match failure.remedy() {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// The text without the library's names for kinds of errors, because what follows them says more.
fn plain(text: &str) -> &str {
    let mut text = text;
    while let Some((_, rest)) = ["NATS: ", "nats: ", "IO error: ", "TLS error: ", "failed signing nonce: "]
        .iter()
        .find_map(|kind| text.strip_prefix(kind).map(|rest| (kind, rest)))
    {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_librarys_text_becomes_a_plain_line_with_a_remedy() {
        for (text, words) in [
            (
                "IO error: invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
                "the server shows a CA's own certificate (self-signed with CA:TRUE), which no client accepts from a \
                 server; make the server a certificate with basicConstraints=critical,CA:FALSE, and name it, or the CA \
                 that signed it, as ca_file in [nats]",
            ),
            (
                "IO error: invalid peer certificate: UnknownIssuer",
                "the server's certificate is not signed by a CA that is trusted here; name the file with that CA's \
                 certificate as ca_file in [nats]",
            ),
            (
                "IO error: invalid peer certificate: certificate expired: verification time 2 (UNIX)",
                "invalid peer certificate: certificate expired: verification time 2 (UNIX); renew the server's \
                 certificate, or set this machine's clock",
            ),
            (
                "IO error: Connection refused (os error 111)",
                "connection refused; check servers in [nats], and that the server runs",
            ),
            (
                "authorization violation: nats: authorization violation",
                "the server refuses the login; check the credentials in [nats]",
            ),
            ("failed signing nonce: secret /x is empty", "secret /x is empty"),
            ("IO error: something new", "something new"),
        ] {
            let failed = FailedTry { server: "h:4222", text };
            assert_eq!(failed.to_string(), format!("cannot connect to h:4222: {words}"));
        }
    }
    #[test]
    fn an_error_is_classified_by_its_variants() {
        let tls = |error: rustls::Error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            ConnectFailure::from_error(&ConnectError::with_source(ConnectErrorKind::Io, error))
        };
        let certificate = |error: CertificateError| tls(rustls::Error::InvalidCertificate(error));
        let ca_as_server = CertificateError::Other(rustls::OtherError(std::sync::Arc::new(
            webpki::Error::CaUsedAsEndEntity,
        )));
        assert_eq!(certificate(ca_as_server), ConnectFailure::CaAsServer);
        assert_eq!(certificate(CertificateError::UnknownIssuer), ConnectFailure::UnknownIssuer);
        assert_eq!(certificate(CertificateError::Expired), ConnectFailure::Date);
        assert_eq!(certificate(CertificateError::NotValidForName), ConnectFailure::OtherName);
        assert_eq!(tls(InvalidMessage::InvalidContentType.into()), ConnectFailure::NotTls);
        assert_eq!(
            tls(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)),
            ConnectFailure::OurCertificate
        );
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(ConnectFailure::from_error(&refused.into()), ConnectFailure::Refused);
        let text = ConnectError::with_source(ConnectErrorKind::Io, "expected INFO, got nothing");
        assert_eq!(ConnectFailure::from_error(&text), ConnectFailure::NotNats);
        let login = ConnectError::new(ConnectErrorKind::AuthorizationViolation);
        assert_eq!(ConnectFailure::from_error(&login), ConnectFailure::Login);
    }
}
