//! Names and dates in certificates, for messages. It does not decide whether they are trusted.

use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::format_rfc3339_seconds;
use rustls::pki_types::CertificateDer;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc4519;
use x509_cert::name::Name;

use super::counted::Counted;

/// A certificate that is valid for fewer days gets a remark.
pub const REMARK_DAYS: u64 = 14;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The certificates that a server presented.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain {
    /// The subjects, the server's own first, and the issuer of the last.
    pub names: String,
    /// When the first of them expires.
    pub ends: Option<SystemTime>,
    /// Days until then. 0 is today, or earlier.
    pub days_left: Option<u64>,
}

impl Chain {
    /// A remark if it has expired or expires soon.
    pub fn remark(&self, now: SystemTime) -> Option<String> {
        let ends = self.ends?;
        match (now > ends, self.days_left?) {
            (true, _) => {
                Some(format!("expired on {}: no client trusts it, renew it", format_rfc3339_seconds(ends)))
            }
            (false, days) if days < REMARK_DAYS => Some(format!(
                "ends in {}, on {}: see that it is renewed",
                Counted(days, "day"),
                format_rfc3339_seconds(ends)
            )),
            _ => None,
        }
    }
}

/// Reads a server's certificates. The name of one that cannot be parsed is `(unreadable)`.
pub fn chain(presented: &[CertificateDer<'_>], now: SystemTime) -> Chain {
    let parsed: Vec<Option<Certificate>> = presented.iter().map(|der| read(der)).collect();
    let mut names: Vec<String> = parsed
        .iter()
        .map(|certificate| match certificate {
            Some(certificate) => certificate.subject.clone(),
            None => "(unreadable)".to_owned(),
        })
        .collect();
    if let Some(Some(last)) = parsed.last()
        && names.last() != Some(&last.issuer)
    {
        names.push(last.issuer.clone());
    }
    let ends = parsed.iter().flatten().map(|certificate| certificate.ends).min();
    let left = |ends: SystemTime| ends.duration_since(now).unwrap_or_default().as_secs() / DAY.as_secs();
    Chain { names: names.join(" <- "), ends, days_left: ends.map(left) }
}

/// The names in a certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    pub subject: String,
    pub issuer: String,
}

/// Reads the names. None if the certificate cannot be parsed.
pub fn names(der: &CertificateDer<'_>) -> Option<Names> {
    read(der).map(|Certificate { subject, issuer, .. }| Names { subject, issuer })
}

struct Certificate {
    subject: String,
    issuer: String,
    ends: SystemTime,
}

/// `Raw` also accepts serial numbers that RFC 5280 forbids.
fn read(der: &[u8]) -> Option<Certificate> {
    let read = CertificateInner::<Raw>::from_der(der).ok()?;
    let fields = read.tbs_certificate();
    Some(Certificate {
        subject: display_name(fields.subject()),
        issuer: display_name(fields.issuer()),
        ends: fields.validity().not_after.to_system_time(),
    })
}

/// A name in the order of RFC 4514, the last part first. It may be empty, with all names in the extensions.
fn display_name(name: &Name) -> String {
    let mut parts: Vec<String> = name.iter().filter_map(part).collect();
    parts.reverse();
    if parts.is_empty() { "(no subject)".to_owned() } else { parts.join(",") }
}

fn part(attribute: &AttributeTypeAndValue) -> Option<String> {
    let kind = match attribute.oid {
        rfc4519::CN => "CN",
        rfc4519::C => "C",
        rfc4519::L => "L",
        rfc4519::ST => "ST",
        rfc4519::O => "O",
        rfc4519::OU => "OU",
        // Other parts, such as serial numbers and mail addresses, are not shown.
        _ => return None,
    };
    let value = String::from_utf8_lossy(attribute.value.value());
    Some(format!("{kind}={}", value.escape_debug()))
}

#[cfg(test)]
mod tests {
    use rcgen::DnType;
    use rustls::pki_types::pem::PemObject;

    use super::super::testing::certificate;
    use super::*;

    /// A part of PKCS #9 that is not shown.
    const EMAIL_ADDRESS: [u64; 7] = [1, 2, 840, 113549, 1, 9, 1];

    fn certificate_of(subject: &[(DnType, &str)], days: u32) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(certificate(subject, days).certificate.as_bytes()).unwrap()
    }

    #[test]
    fn a_chain_has_its_names_and_days() {
        let certificate = certificate_of(&[(DnType::CommonName, "relay.example")], 30);
        let now = SystemTime::now();
        let seen = chain(std::slice::from_ref(&certificate), now);
        assert_eq!((seen.names.as_str(), seen.days_left), ("CN=relay.example", Some(29)));
        let later = chain(std::slice::from_ref(&certificate), now + 40 * DAY);
        assert_eq!(later.days_left, Some(0));
        let odd = chain(&[CertificateDer::from(vec![1, 2])], now);
        assert_eq!((odd.names.as_str(), odd.days_left), ("(unreadable)", None));
        for end in 0..certificate.len() {
            assert_eq!(read(&certificate[..end]).map(|read| read.subject), None, "cut at {end}");
        }
    }

    #[test]
    fn names_are_written_from_the_last_part_on() {
        let subject = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "A, B"),
            (DnType::CustomDnType(EMAIL_ADDRESS.to_vec()), "x@example.org"),
            (DnType::CommonName, "r\u{e4}\u{1b}"),
        ];
        let certificate = certificate_of(&subject, 9000);
        let read = read(&certificate).unwrap();
        assert_eq!(read.subject, "CN=r\u{e4}\\u{1b},O=A, B,C=DE");
        let seen = chain(&[certificate], SystemTime::now());
        assert_eq!(seen.days_left, Some(8999));
    }

    #[test]
    fn both_forms_of_time_are_read() {
        // From 2050 on, RFC 5280 requires the other form.
        let certificate = certificate_of(&[(DnType::CommonName, "far")], 36500);
        let seen = chain(&[certificate], SystemTime::now());
        assert_eq!(seen.days_left, Some(36499));
    }
}
