//! Self-signed certificates for tests.

use std::time::{Duration, SystemTime};

use rcgen::string::PrintableString;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyPair};

/// A new certificate and its key, as PEM.
pub(crate) struct Made {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate for the server `localhost`, with this subject (the first part first), valid for this many days.
pub(crate) fn certificate(subject: &[(DnType, &str)], days: u32) -> Made {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    for (part, value) in subject {
        // RFC 5280 allows only this form for countries.
        let value = match part {
            DnType::CountryName => DnValue::PrintableString(PrintableString::try_from(*value).unwrap()),
            _ => DnValue::Utf8String((*value).to_owned()),
        };
        params.distinguished_name.push(part.clone(), value);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + Duration::from_secs(86_400) * days).into();
    let key = KeyPair::generate().unwrap();
    Made { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}
