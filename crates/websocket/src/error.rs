//! How a dial can fail.

use hyper::StatusCode;

/// Which step failed, and how.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The URL cannot be dialled.
    #[error("{0}")]
    Url(String),
    /// A step before the relay's HTTP answer failed. Another dial may succeed.
    #[error("{0}")]
    Reach(String),
    /// The proxy refuses.
    #[error("{0}")]
    Barred(String),
    /// The TLS handshake failed. Another dial may succeed, but not if the certificate is not trusted.
    #[error("{text}")]
    Tls { text: String, error: Box<rustls::Error> },
    /// The relay's answer is not 101.
    #[error("{}", relay_answered(*.status, .message))]
    Refused {
        status: StatusCode,
        /// `message` of the JSON body; empty without one.
        message: String,
    },
}

impl DialError {
    /// Whether the same dial may succeed later: yes after a 5xx, or if a step below HTTP failed.
    pub fn may_pass(&self) -> bool {
        match self {
            DialError::Url(_) | DialError::Barred(_) => false,
            DialError::Reach(_) => true,
            DialError::Tls { error, .. } => !matches!(
                **error,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
            ),
            DialError::Refused { status, .. } => status.is_server_error(),
        }
    }
}

fn relay_answered(status: StatusCode, message: &str) -> String {
    match message.is_empty() {
        true => format!("relay answered {status}"),
        false => format!("relay answered {}: {message}", status.as_u16()),
    }
}

pub(super) fn reach(step: &str, error: &dyn std::error::Error) -> DialError {
    DialError::Reach(in_words(step, error))
}

/// A failed step with all its causes.
pub(super) fn in_words(step: &str, error: &dyn std::error::Error) -> String {
    let mut text = format!("{step}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
