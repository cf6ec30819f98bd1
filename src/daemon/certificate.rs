//! What a certificate says of itself, for people. Whether it is trusted was decided elsewhere.

use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::{format_rfc3339_seconds, parse_rfc3339};
use rustls::pki_types::CertificateDer;

/// Days before the end from which a certificate is worth a word.
pub const CARE_DAYS: u64 = 14;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The certificates that a server showed.
#[derive(Debug, PartialEq, Eq)]
pub struct Chain {
    /// Subjects from the server's own upwards, with the issuer of the last.
    pub names: String,
    /// When the first of them ends.
    pub ends: Option<SystemTime>,
    /// Days until then; 0 is today or before.
    pub days_left: Option<u64>,
}

impl Chain {
    /// What its owner should know: that it has ended, or soon will.
    pub fn remark(&self, now: SystemTime) -> Option<String> {
        let ends = self.ends?;
        match (now > ends, self.days_left?) {
            (true, _) => {
                Some(format!("expired on {}: no client trusts it, renew it", format_rfc3339_seconds(ends)))
            }
            (false, days) if days < CARE_DAYS => Some(format!(
                "ends in {days} days, on {}: see that it is renewed",
                format_rfc3339_seconds(ends)
            )),
            _ => None,
        }
    }
}

/// Reads what a server showed. What cannot be parsed is named so.
pub fn chain(shown: &[CertificateDer<'_>], now: SystemTime) -> Chain {
    let parsed: Vec<Option<Certificate>> = shown.iter().map(|der| read(der)).collect();
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

struct Certificate {
    subject: String,
    issuer: String,
    ends: SystemTime,
}

/// The few fields of a certificate (RFC 5280, 4.1) that are shown.
fn read(mut der: &[u8]) -> Option<Certificate> {
    let mut signed = element(&mut der)?.content;
    let mut fields = element(&mut signed)?.content;
    if element(&mut fields)?.tag == VERSION {
        element(&mut fields)?;
    }
    let _algorithm = element(&mut fields)?;
    let issuer = name(element(&mut fields)?.content)?;
    let mut validity = element(&mut fields)?.content;
    let _begins = element(&mut validity)?;
    let ends = time(&element(&mut validity)?)?;
    let subject = name(element(&mut fields)?.content)?;
    Some(Certificate { subject, issuer, ends })
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Takes one element of DER from the front.
fn element<'a>(der: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some(Element { tag, content })
}

/// A name as RFC 4514 writes it: the last part first. A certificate may have its names only in its extensions.
fn name(mut parts: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    while !parts.is_empty() {
        let mut set = element(&mut parts)?.content;
        let mut attribute = element(&mut set)?.content;
        let kind = match element(&mut attribute)?.content {
            [0x55, 4, 3] => "CN",
            [0x55, 4, 6] => "C",
            [0x55, 4, 7] => "L",
            [0x55, 4, 8] => "ST",
            [0x55, 4, 10] => "O",
            [0x55, 4, 11] => "OU",
            // Serial numbers, mail addresses and the like name nobody.
            _ => continue,
        };
        let value = String::from_utf8_lossy(element(&mut attribute)?.content);
        names.insert(0, format!("{kind}={}", value.escape_debug()));
    }
    Some(if names.is_empty() { "(no subject)".to_owned() } else { names.join(",") })
}

/// `260131235959Z`, or with the whole year.
fn time(element: &Element<'_>) -> Option<SystemTime> {
    let text = str::from_utf8(element.content).ok()?;
    let century = match element.tag {
        UTC_TIME if text < "5" => "20",
        UTC_TIME => "19",
        GENERALIZED_TIME => "",
        _ => return None,
    };
    let text = format!("{century}{text}");
    let part = |from: usize, to: usize| text.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn certificate_of(subject: &str, days: &str) -> CertificateDer<'static> {
        let out = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-utf8", "-subj", subject, "-days", days])
            .args(["-keyout", "/dev/null"])
            .output()
            .unwrap();
        CertificateDer::from_pem_slice(&out.stdout).unwrap()
    }

    #[test]
    fn a_chain_is_told_with_its_days() {
        let certificate = certificate_of("/CN=relay.example", "30");
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
        let certificate = certificate_of("/C=DE/O=A, B/emailAddress=x@example.org/CN=r\u{e4}\u{1b}", "9000");
        let read = read(&certificate).unwrap();
        assert_eq!(read.subject, "CN=r\u{e4}\\u{1b},O=A, B,C=DE");
        let seen = chain(&[certificate], SystemTime::now());
        assert_eq!(seen.days_left, Some(8999));
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let read = |tag, text: &str| time(&Element { tag, content: text.as_bytes() });
        let of = |text| Some(parse_rfc3339(text).unwrap());
        assert_eq!(read(UTC_TIME, "491231235958Z"), of("2049-12-31T23:59:58Z"));
        assert_eq!(read(UTC_TIME, "991231235958Z"), of("1999-12-31T23:59:58Z"));
        assert_eq!(read(GENERALIZED_TIME, "20500101000000Z"), of("2050-01-01T00:00:00Z"));
        for odd in ["", "2050", "49123123595\u{e4}Z", "4912312359xxZ"] {
            assert_eq!(read(UTC_TIME, odd), None, "{odd}");
        }
        assert_eq!(read(4, "491231235958Z"), None);
    }
}
