//! The relay's own origins, and whether a browser's request comes from one of them. Texts are compared whole, never by
//! a part of them.

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use url::{Position, Url};

use service::loopback::is_loopback;

/// What browsers say about where a request comes from (Fetch Metadata). A page cannot set it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins of the relay's public URLs, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnOrigins(Vec<OwnOrigin>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnOrigin {
    /// As browsers write it: `https://relay.example.com`.
    origin: String,
    /// With the path of the public URL, without a slash at its end.
    url: String,
    is_tls: bool,
    is_loopback: bool,
}

/// Why a browser cannot sign in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotHere {
    /// The request names another host than the public URLs. Has the URL to use.
    OtherHost(String),
    /// There is neither TLS nor loopback. Has the URL that was used.
    PlainHttp(String),
    /// A page of another origin has sent the request, or nothing says where it comes from.
    CrossSite,
}

impl OwnOrigins {
    /// The origins of these `wss://` and `ws://` URLs.
    pub(crate) fn new(public_urls: &[String]) -> OwnOrigins {
        OwnOrigins(public_urls.iter().filter_map(|url| OwnOrigin::new(url)).collect())
    }

    /// The URL of the first, for links and messages.
    pub(crate) fn first_url(&self) -> &str {
        self.0.first().map_or("", |own| &own.url)
    }

    /// The origin whose cookies a request may have.
    ///
    /// # Errors
    /// [`NotHere::OtherHost`] and [`NotHere::PlainHttp`]
    pub(crate) fn of(&self, headers: &HeaderMap) -> Result<&OwnOrigin, NotHere> {
        let host = only(headers, &HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let at_host: Vec<_> = self.0.iter().filter(|own| own.is_at(host)).collect();
        // Two URLs can differ only in their scheme. Then the page says which one it has.
        let named = at_host.iter().find(|own| only(headers, &ORIGIN).is_some_and(|origin| own.is(origin)));
        let own = named.or_else(|| at_host.iter().find(|own| own.is_tls)).or(at_host.first());
        let own = *own.ok_or_else(|| NotHere::OtherHost(self.first_url().to_owned()))?;
        match own.is_tls || own.is_loopback {
            true => Ok(own),
            false => Err(NotHere::PlainHttp(own.url.clone())),
        }
    }
}

impl OwnOrigin {
    fn new(public_url: &str) -> Option<OwnOrigin> {
        let (scheme, rest) = public_url.split_once("://")?;
        let is_tls = scheme.eq_ignore_ascii_case("wss");
        let url = Url::parse(&format!("{}://{rest}", if is_tls { "https" } else { "http" })).ok()?;
        let origin = url[..Position::AfterPort].to_owned();
        let is_loopback = is_loopback(url.host_str()?.trim_start_matches('[').trim_end_matches(']'));
        let url = format!("{origin}{}", url.path().trim_end_matches('/'));
        Some(OwnOrigin { origin, url, is_tls, is_loopback })
    }

    /// Whether browsers reach it with TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// Whether a request with this `Host` header is for this origin.
    fn is_at(&self, host: &str) -> bool {
        let is_authority = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        // What else an URL may have there (a user, a path) is no host. The parser knows default ports and upper case.
        !host.is_empty()
            && host.bytes().all(is_authority)
            && Url::parse(&format!("{}://{host}", self.scheme()))
                .is_ok_and(|url| url[..Position::AfterPort] == self.origin)
    }

    /// Whether an `Origin` header is exactly this one. Browsers have one spelling of it.
    fn is(&self, origin: &HeaderValue) -> bool {
        origin.as_bytes() == self.origin.as_bytes()
    }

    /// Whether a page of this origin has sent the request: browsers say so in `Sec-Fetch-Site`, older ones and those
    /// without TLS in `Origin`.
    ///
    /// # Errors
    /// [`NotHere::CrossSite`], or [`NotHere::PlainHttp`] if the page itself was loaded without TLS.
    pub(crate) fn check_page(&self, headers: &HeaderMap) -> Result<(), NotHere> {
        let sites: Vec<_> = headers.get_all(&SEC_FETCH_SITE).iter().collect();
        let origins: Vec<_> = headers.get_all(ORIGIN).iter().collect();
        let is_ours = match (&sites[..], &origins[..]) {
            ([], [origin]) => self.is(origin),
            ([site], []) => *site == "same-origin",
            // A page's Referrer-Policy can hide its origin, but no page can write Sec-Fetch-Site.
            ([site], [origin]) => *site == "same-origin" && (self.is(origin) || *origin == "null"),
            _ => false,
        };
        let without_tls = self.origin.strip_prefix("https://").map(|rest| format!("http://{rest}"));
        match (is_ours, &origins[..]) {
            (true, _) => Ok(()),
            (false, [origin]) if without_tls.is_some_and(|page| page.as_bytes() == origin.as_bytes()) => {
                Err(NotHere::PlainHttp(self.url.clone()))
            }
            _ => Err(NotHere::CrossSite),
        }
    }
}

/// The value of a header that came once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(urls: &[&str]) -> OwnOrigins {
        OwnOrigins::new(&urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>())
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    const HOST: (&str, &str) = ("host", "relay.example.com");

    #[test]
    fn only_the_exact_origin_is_ours() {
        let own = own(&["wss://relay.example.com"]);
        let check = |lines: &[(&'static str, &str)]| {
            let headers = headers(&[&[HOST], lines].concat());
            own.of(&headers).unwrap().check_page(&headers)
        };
        assert_eq!(check(&[("origin", "https://relay.example.com")]), Ok(()));
        for origin in [
            "https://evil.relay.example.com",
            "https://relay.example.com.evil.net",
            "https://evilrelay.example.com",
            "wss://relay.example.com",
            "https://relay.example.com:8443",
            "https://relay.example.com:443",
            "null",
            "https://RELAY.example.com",
            "https://relay.exämple.com",
            "https://relay.xn--exmple-cua.com",
            "",
            "https://relay.example.com.",
            "https://me@relay.example.com",
            "https://relay.example.com/",
            "https://relay.example.com/page",
            "https://[2001:db8::1]",
            " https://relay.example.com",
            "https://relay.example.com ",
            "https://relay.example.com https://relay.example.com",
            "https://relay.example.com, https://evil.net",
            "file://",
            "https://example.com",
            "relay.example.com",
            "https://",
        ] {
            assert_eq!(check(&[("origin", origin)]), Err(NotHere::CrossSite), "{origin}");
            let said = [("origin", origin), ("sec-fetch-site", "cross-site")];
            assert_eq!(check(&said), Err(NotHere::CrossSite), "{origin}");
        }
        let twice = [("origin", "https://relay.example.com"); 2];
        assert_eq!(check(&twice), Err(NotHere::CrossSite));
        // Another scheme is a page without TLS, which gets an error that says so.
        let plain = NotHere::PlainHttp("https://relay.example.com".into());
        assert_eq!(check(&[("origin", "http://relay.example.com")]), Err(plain));
    }

    #[test]
    fn what_browsers_say_of_the_site_decides_where_they_say_it() {
        let own = own(&["wss://relay.example.com"]);
        let ours = ("origin", "https://relay.example.com");
        let is_ours = |lines: &[(&'static str, &str)]| {
            let headers = headers(&[&[HOST], lines].concat());
            own.of(&headers).unwrap().check_page(&headers).is_ok()
        };
        assert!(is_ours(&[("sec-fetch-site", "same-origin")]));
        assert!(is_ours(&[("sec-fetch-site", "same-origin"), ours]));
        assert!(is_ours(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        for site in ["same-site", "cross-site", "none", "", "Same-Origin", "same-origin, same-origin"] {
            assert!(!is_ours(&[("sec-fetch-site", site)]), "{site}");
            assert!(!is_ours(&[("sec-fetch-site", site), ours]), "{site}");
        }
        assert!(!is_ours(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]));
        assert!(!is_ours(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.net")]));
        assert!(!is_ours(&[]), "nothing says where it comes from");
    }

    #[test]
    fn the_host_header_is_that_of_a_public_url() {
        let own =
            own(&["wss://relay.example.com/sub/", "ws://127.0.0.1:8080", "ws://[::1]:80", "ws://lan:80"]);
        let at = |host: &str| own.of(&headers(&[("host", host)])).map(|own| own.origin.as_str());
        for (host, origin) in [
            ("relay.example.com", "https://relay.example.com"),
            ("Relay.Example.com:443", "https://relay.example.com"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]", "http://[::1]"),
            ("[0:0::1]:80", "http://[::1]"),
        ] {
            assert_eq!(at(host), Ok(origin), "{host}");
        }
        let other = NotHere::OtherHost("https://relay.example.com/sub".into());
        for host in [
            "",
            "relay.example.com.",
            "relay.example.com:80",
            "relay.example.com:8443",
            "me@relay.example.com",
            "relay.example.com/",
            "a.relay.example.com",
            "127.0.0.1",
            "localhost:8080",
            "relay.example.com#",
        ] {
            assert_eq!(at(host), Err(other.clone()), "{host}");
        }
        let twice = headers(&[("host", "relay.example.com"), ("host", "relay.example.com")]);
        assert_eq!(own.of(&twice).unwrap_err(), other);
        assert_eq!(at("lan"), Err(NotHere::PlainHttp("http://lan".into())));
    }

    #[test]
    fn two_urls_that_differ_in_the_scheme_are_told_apart_by_the_page() {
        let own = own(&["ws://localhost", "wss://localhost"]);
        let at = |lines: &[(&'static str, &str)]| {
            own.of(&headers(&[&[("host", "localhost")], lines].concat())).unwrap().origin.clone()
        };
        assert_eq!(at(&[("origin", "http://localhost")]), "http://localhost");
        assert_eq!(at(&[("origin", "https://localhost")]), "https://localhost");
        assert_eq!(at(&[]), "https://localhost");
    }
}
