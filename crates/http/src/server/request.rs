//! The form that every request must have, checked before its path is looked at.

use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Request, Version};

/// Checks the host header, and that each header in `once` comes at most once: if one that decides something came twice, a
/// proxy and this program could each use another one.
///
/// # Errors
/// What is wrong, for the one who reads the answer 400.
pub fn check<B>(request: &Request<B>, once: &[&str]) -> Result<(), String> {
    let headers = request.headers();
    if let Some(name) = once.iter().find(|name| headers.get_all(**name).iter().nth(1).is_some()) {
        return Err(format!("more than one {name} header"));
    }
    // RFC 9112 section 3.2.
    match headers.get(HOST) {
        None if request.version() == Version::HTTP_10 => Ok(()),
        None => Err("no host header".into()),
        Some(host) if host.is_empty() => Ok(()),
        Some(host) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) if !authority.as_str().contains('@') => Ok(()),
            _ => Err("the host header is not a host".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: [&str; 2] = ["host", "authorization"];

    fn answer(version: Version, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap(), &ONCE).err().unwrap_or_default()
    }

    #[test]
    fn a_host_is_needed_and_what_decides_something_comes_once() {
        let host = ("host", "relay.example.com:443");
        for fine in [&[host][..], &[("host", "")], &[("host", "[::1]:80"), ("cookie", "a"), ("cookie", "b")]]
        {
            assert_eq!(answer(Version::HTTP_11, fine), "");
        }
        assert_eq!(answer(Version::HTTP_10, &[]), "");
        assert_eq!(answer(Version::HTTP_11, &[]), "no host header");
        for not in ["a b", "user@relay", "a/b", "a:b:c"] {
            assert_eq!(answer(Version::HTTP_11, &[("host", not)]), "the host header is not a host", "{not}");
        }
        for name in ONCE {
            let twice = answer(Version::HTTP_11, &[host, (name, "x"), (name, "x")]);
            assert_eq!(twice, format!("more than one {name} header"));
        }
    }
}
