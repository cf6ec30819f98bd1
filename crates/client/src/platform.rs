//! The platform's URL as a user writes it.

use anyhow::{Result, anyhow, bail};

use service::loopback::is_loopback;
use service::printable::printable;
use websocket::address::Address;

/// A platform's `http://` or `https://` URL.
#[derive(Clone, Debug)]
pub(crate) struct PlatformUrl {
    pub address: Address,
    /// The user's text, safe to print and without a password.
    pub written: String,
}

impl PlatformUrl {
    /// # Errors
    /// What is wrong with it, and which URL was probably meant.
    pub(crate) fn parse(written: &str) -> Result<PlatformUrl> {
        let written = written.trim();
        if written.is_empty() {
            bail!("--platform is empty: write its address, such as https://relay.example.com");
        }
        let address = parse(written).map_err(|why| anyhow!("--platform {}: {why}", redacted(written)))?;
        Ok(PlatformUrl { address, written: redacted(written) })
    }

    /// Only the scheme, host and port.
    pub(crate) fn root(&self) -> String {
        self.with_tls(self.address.tls)
    }

    /// Like `root`, with `https` if `tls`, else `http`.
    pub(crate) fn with_tls(&self, tls: bool) -> String {
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://{}", authority(&self.address))
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        authority(&self.address)
    }
}

/// Host and port, with brackets around an IPv6 address.
pub(crate) fn authority(address: &Address) -> String {
    match address.host.contains(':') {
        true => format!("[{}]:{}", address.host, address.port),
        false => format!("{}:{}", address.host, address.port),
    }
}

fn parse(written: &str) -> Result<Address> {
    let (scheme, rest) = match written.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => return Err(without_scheme(written)),
    };
    let scheme = match scheme.as_str() {
        "http" => "ws",
        "https" => "wss",
        "ws" => {
            bail!("a platform's address begins with http:// or https://: write http://{}", redacted(rest))
        }
        "wss" => {
            bail!("a platform's address begins with http:// or https://: write https://{}", redacted(rest))
        }
        other => bail!("it begins with {}://, expected https:// or http://", printable(other)),
    };
    if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
        bail!("a platform asks for the key of --api-key-file only: leave the user before the @ out");
    }
    if rest.contains(['?', '#']) {
        bail!("a platform's address has no ? and no #: leave them out");
    }
    Ok(Address::parse(&format!("{scheme}://{rest}"))?)
}

fn without_scheme(written: &str) -> anyhow::Error {
    // The scheme may be there with one slash or none.
    let with_scheme = ["http", "https"].into_iter().find_map(|scheme| {
        Some((scheme, written.strip_prefix(scheme)?.strip_prefix(':')?.trim_start_matches('/')))
    });
    let (host, port) = match written.split('/').next().and_then(|authority| authority.rsplit_once(':')) {
        Some((host, port)) => (host, port),
        None => (written.split('/').next().unwrap_or_default(), "443"),
    };
    let (scheme, rest) = with_scheme.unwrap_or((if is_loopback(host) { "http" } else { "https" }, written));
    let is_port = with_scheme.is_some() || port.parse::<u16>().is_ok();
    let likely = format!("{scheme}://{rest}");
    match parse(&likely) {
        Ok(_) if is_port => anyhow!("it has no https:// or http:// before it: write {}", printable(&likely)),
        _ => anyhow!("expected an address such as https://relay.example.com"),
    }
}

/// The URL for messages: safe to print, and without a user and password.
fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let user = if host.len() < authority.len() { "...@" } else { "" };
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    printable(&format!("{scheme}{user}{host}{path}")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_url_that_was_probably_meant() {
        for (written, words) in [
            ("", "--platform is empty"),
            (
                "ws://a:80",
                "--platform ws://a:80: a platform's address begins with http:// or https://: write http://a:80",
            ),
            ("wss://a", "write https://a"),
            ("relay.example.com", "it has no https:// or http:// before it: write https://relay.example.com"),
            ("127.0.0.1:8080", "write http://127.0.0.1:8080"),
            ("localhost:8080/x", "write http://localhost:8080/x"),
            ("https:/a/x", "write https://a/x"),
            ("http:a:80", "write http://a:80"),
            ("nonsense:", "expected an address such as https://relay.example.com"),
            ("ftp://a", "--platform ftp://a: it begins with ftp://, expected https:// or http://"),
            ("a b", "expected an address such as https://relay.example.com"),
            ("http://a b", "--platform http://a b: not a URL"),
            ("http://a:99999", "--platform http://a:99999: not a URL: invalid port number"),
            ("https://me:pw@a", "--platform https://...@a: a platform asks for the key"),
            ("https://a?x", "has no ?"),
        ] {
            let why = PlatformUrl::parse(written).unwrap_err().to_string();
            assert!(why.contains(words) && !why.contains("pw"), "{written}: {why}");
        }
        for (written, root) in [
            ("HTTP://a:80/x/", "http://a:80"),
            (" https://a\n", "https://a:443"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(PlatformUrl::parse(written).unwrap().root(), root);
        }
    }
}
