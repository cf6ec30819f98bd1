//! What a certificate says of itself, for people.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Days before the end from which a certificate is worth a word.
pub const CARE_DAYS: u64 = 14;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The certificates that a server showed.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain {
    /// Subjects from the server's own upwards, with the issuer of the last.
    pub names: String,
    /// Days until the first of them ends; 0 is today or before.
    pub days_left: Option<u64>,
}

/// Reads what a server showed. What cannot be parsed is named so: whether it is trusted was decided elsewhere.
pub fn chain(shown: &[CertificateDer<'_>], now: SystemTime) -> Chain {
    let parsed: Vec<Option<Certificate>> =
        shown.iter().map(|der| Certificate::from_der(der.as_ref()).ok()).collect();
    let mut names: Vec<String> = parsed
        .iter()
        .map(|certificate| match certificate {
            Some(certificate) => name(&certificate.tbs_certificate.subject.to_string()),
            None => "(unreadable)".to_owned(),
        })
        .collect();
    if let Some(Some(last)) = parsed.last() {
        let issuer = name(&last.tbs_certificate.issuer.to_string());
        if names.last() != Some(&issuer) {
            names.push(issuer);
        }
    }
    let left = |certificate: &Certificate| {
        let end = certificate.tbs_certificate.validity.not_after.to_system_time();
        end.duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs()
    };
    Chain { names: names.join(" <- "), days_left: parsed.iter().flatten().map(left).min() }
}

/// A certificate may have its names only in its extensions.
fn name(subject: &str) -> String {
    if subject.is_empty() { "(no subject)".to_owned() } else { subject.to_owned() }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// `openssl req -x509 -newkey ed25519 -nodes -subj /CN=relay.example -days 30`
    fn certificate() -> CertificateDer<'static> {
        let out = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=relay.example", "-days"])
            .args(["30", "-keyout", "/dev/null"])
            .output()
            .unwrap();
        CertificateDer::from_pem_slice(&out.stdout).unwrap()
    }

    #[test]
    fn a_chain_is_told_with_its_days() {
        let certificate = certificate();
        let now = SystemTime::now();
        let seen = chain(std::slice::from_ref(&certificate), now);
        assert_eq!((seen.names.as_str(), seen.days_left), ("CN=relay.example", Some(29)));
        let later = chain(std::slice::from_ref(&certificate), now + 40 * DAY);
        assert_eq!(later.days_left, Some(0));
        let odd = chain(&[CertificateDer::from(vec![1, 2])], now);
        assert_eq!((odd.names.as_str(), odd.days_left), ("(unreadable)", None));
    }
}
