//! Adds to connection errors what the user can do, in terms of the arguments of `open`.

use std::error::Error as _;

use anyhow::{Error, anyhow};
use rustls::CertificateError;

use service::tls::certificate_error;
use websocket::address::Address;
use websocket::dial::Dialer;
use websocket::error::DialError;

use super::platform::{PlatformUrl, authority};

/// A part of an error's text, and the remedy.
const REMEDIES: [(&str, &str); 5] = [
    (
        "proxy: ",
        "the proxy is that of HTTPS_PROXY or ALL_PROXY; NO_PROXY lists hosts that are reached without it",
    ),
    ("connection error", "is it a platform that answers there?"),
    ("name lookup", "is the name right?"),
    ("onnection refused", "nothing listens there: is the address right, and does stream-relay run?"),
    ("connection closed before message completed", "it is not a platform that answers there"),
];

/// hyper's error for bytes that come before the request is sent, as from NATS or SSH. It has no variant.
const SPEAKS_FIRST: &str = "received unexpected message from connection";

/// Explains an error of a connection to the platform.
pub(crate) async fn explain_platform_error(error: Error, place: &PlatformUrl, dialer: &Dialer) -> Error {
    let at = &place.written;
    if is_not_tls(tls_error(&error)) {
        let other = place.with_tls(false);
        return anyhow!("--platform {at}: this port does not speak TLS: write {other} if the port is right");
    }
    let is_not_http = http_error(&error).is_some_and(is_not_http);
    if is_not_http && !place.address.tls && speaks_tls(&place.address, dialer).await {
        return anyhow!("--platform {at}: this port speaks TLS: write {}", place.with_tls(true));
    }
    if is_not_http || is_other_message(tls_error(&error)) {
        return anyhow!("--platform {at}: no platform answers there, but a service that does not speak HTTP");
    }
    with_remedy(error)
}

/// Explains an error of a connection to the relay. It does not repeat the URL, which has a token.
pub(crate) async fn explain_relay_error(error: DialError, address: &Address, dialer: &Dialer) -> Error {
    let (text, at) = (error.to_string(), authority(address));
    let tls = match &error {
        DialError::Tls { error, .. } => Some(&**error),
        _ => None,
    };
    if is_not_tls(tls) {
        return anyhow!("{at} does not speak TLS, and the URL begins with wss://: is it to be ws://?");
    }
    // A dial's error has only the text of hyper's.
    let is_not_http = ["invalid HTTP version", "parsed", SPEAKS_FIRST].iter().any(|part| text.contains(part));
    if is_not_http && !address.tls && speaks_tls(address, dialer).await {
        return anyhow!("{at} speaks TLS, and the URL begins with ws://: is it to be wss://?");
    }
    if is_not_http || is_other_message(tls) {
        return anyhow!("no relay answers at {at}, but a service that does not speak HTTP");
    }
    match error {
        DialError::Refused { status, .. } if status == 404 => {
            anyhow!("{text}; is the URL whole? Its path ends with /v1/stream/TOKEN")
        }
        error => with_remedy(error.into()),
    }
}

async fn speaks_tls(address: &Address, dialer: &Dialer) -> bool {
    let mut address = address.clone();
    address.tls = true;
    // A certificate that is not trusted counts, too.
    match dialer.reach(&address).await {
        Ok(_) | Err(DialError::Barred(_)) => true,
        Err(error) => matches!(error, DialError::Tls { .. }) && !error.may_pass(),
    }
}

/// The error of a TLS handshake, if it is the cause.
fn tls_error(error: &Error) -> Option<&rustls::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(DialError::Tls { error, .. }) => Some(&**error),
        _ => None,
    })
}

/// The error of an HTTP exchange, if it is the cause.
fn http_error(error: &Error) -> Option<&hyper::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(http1::client::Error::Http(error)) => Some(error),
        _ => None,
    })
}

fn is_not_http(error: &hyper::Error) -> bool {
    let speaks_first = || {
        let cause = error.source().map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string()) == SPEAKS_FIRST
    };
    error.is_parse() && !error.is_parse_too_large() || speaks_first()
}

fn is_not_tls(error: Option<&rustls::Error>) -> bool {
    use rustls::InvalidMessage::InvalidContentType;
    matches!(error, Some(rustls::Error::InvalidMessage(InvalidContentType)))
}

/// Whether another message came than one of a handshake.
fn is_other_message(error: Option<&rustls::Error>) -> bool {
    matches!(error, Some(rustls::Error::InappropriateMessage { .. }))
}

/// Adds the remedy, if one is known.
fn with_remedy(error: Error) -> Error {
    let text = format!("{error:#}");
    let certificate = tls_error(&error).and_then(certificate_error).and_then(certificate_remedy);
    let by_text = || REMEDIES.iter().find(|(part, _)| text.contains(part)).map(|(_, remedy)| *remedy);
    match certificate.or_else(by_text) {
        Some(remedy) => anyhow!("{text}; {remedy}"),
        None => error,
    }
}

fn certificate_remedy(error: &CertificateError) -> Option<&'static str> {
    match error {
        CertificateError::UnknownIssuer => {
            Some("--ca-file names a file with the certificate of the issuer that is to be trusted")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("write a name that the certificate has, or have one made for this name")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_known_error_gets_a_remedy_and_others_stay_as_they_are() {
        let error = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let tls = DialError::Tls { text: error.to_string(), error: Box::new(error) };
        let text = with_remedy(Error::new(tls).context("platform")).to_string();
        assert!(text.starts_with("platform: invalid peer certificate: UnknownIssuer; --ca-file"), "{text}");
        let refused = with_remedy(anyhow!("Connection refused").context("platform")).to_string();
        assert!(refused.contains("refused; nothing listens there"), "{refused}");
        assert_eq!(with_remedy(anyhow!("inner").context("outer")).to_string(), "outer");
    }

    #[tokio::test]
    async fn a_service_that_speaks_first_is_not_http() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(b"INFO {}\r\n").await.unwrap();
        let limits = http1::client::Limits { head: 8 * 1024, body: 1024, time: None };
        let connection = http1::client::Connection::new(ours, limits).await.unwrap();
        // The greeting is read before there is a request.
        tokio::task::yield_now().await;
        let request = hyper::Request::get("/").body(hyper::body::Bytes::new()).unwrap();
        let error = match connection.send(request).await {
            Err(http1::client::Error::Http(error)) => error,
            other => panic!("{:?}", other.err()),
        };
        assert!(is_not_http(&error), "{error:?}");
    }
}
