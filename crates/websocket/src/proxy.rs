//! The way out through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6).

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Method, Request};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;

use super::address::parse_url;
use super::error::{DialError, reach};
use super::upgrade::MAX_HEAD;
use http1::client::{Connection, Error, Limits};

/// For the proxy's answer, whose body is not read. The caller sees to its time.
const LIMITS: Limits = Limits { head: MAX_HEAD, body: 0, time: None };

/// An HTTP proxy and where not to use it.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    authorization: Option<String>,
    no_proxy: Vec<String>,
}

impl Proxy {
    /// A proxy by its URL (`http://host:port`; user and password may stand in it).
    ///
    /// # Errors
    /// When the URL is none, or not of an HTTP proxy.
    pub fn new(url: &str, credentials: Option<(&str, &str)>, no_proxy: &[String]) -> anyhow::Result<Proxy> {
        // The text may hold a password: it must not get into the error.
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let url = parse_url(&with_scheme).map_err(|why| anyhow::anyhow!("proxy url: {why}"))?;
        if url.scheme() != "http" {
            bail!("proxy url begins with {}://, only http:// proxies are supported", url.scheme());
        }
        let host = url.host_str().context("proxy url has no host")?;
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let from_url = || Some((decode(url.username()), decode(url.password()?)));
        let authorization = credentials
            .map(|(user, password)| (user.to_owned(), password.to_owned()))
            .or_else(|| from_url().filter(|(user, _)| !user.is_empty()))
            .map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
        Ok(Proxy {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            // 80 unless named, as for every http:// URL.
            port: url.port_or_known_default().unwrap_or(80),
            authorization,
            no_proxy: no_proxy.to_vec(),
        })
    }

    /// The proxy that the environment names, as for other programs: `HTTPS_PROXY`, else `ALL_PROXY`, in capitals or
    /// not, with or without `http://`, and `NO_PROXY`.
    ///
    /// # Errors
    /// When it cannot be used, naming the variable.
    pub fn from_environment() -> anyhow::Result<Option<Proxy>> {
        let variable = |name: &'static str| Some((name, std::env::var(name).ok().filter(|v| !v.is_empty())?));
        let Some((name, url)) =
            ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find_map(variable)
        else {
            return Ok(None);
        };
        let no_proxy = ["NO_PROXY", "no_proxy"].into_iter().find_map(variable);
        let no_proxy: Vec<String> = no_proxy
            .map(|(_, list)| {
                list.split([',', ' '])
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default();
        Proxy::new(&url, None, &no_proxy).map(Some).with_context(|| format!("environment variable {name}"))
    }

    /// Whether the way to `host` goes through the proxy.
    pub fn applies_to(&self, host: &str) -> bool {
        !self.no_proxy.iter().any(|pattern| matches(pattern, host))
    }

    /// Host and port of the proxy.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Asks the proxy, over a connection to it, for one to `host:port`.
    ///
    /// # Errors
    /// When the proxy says no, or something that is not HTTP.
    pub async fn connect(&self, stream: TcpStream, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let failed = |error: Error| reach("proxy", &error);
        let connection = Connection::new(stream, LIMITS).await.map_err(failed)?;
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = Request::builder().method(Method::CONNECT).uri(&authority).header(HOST, &authority);
        if let Some(authorization) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request
            .body(Bytes::new())
            .map_err(|_| DialError::Url(format!("{authority} cannot be asked of a proxy")))?;
        let response = connection.send(request).await.map_err(failed)?;
        let refusal = || format!("proxy refuses to connect to {authority} ({})", response.status().as_u16());
        match response.status().as_u16() {
            200..=299 => {}
            407 => {
                let why = "proxy asks for other credentials (407): check proxy.user and proxy.password_file";
                return Err(DialError::Barred(why.into()));
            }
            // A policy, which is the same in a second; a 5xx says that the proxy did not get there this time.
            400..=499 => return Err(DialError::Barred(refusal())),
            _ => return Err(DialError::Reach(refusal())),
        }
        let (stream, early) = response.upgrade::<TcpStream>().await.map_err(failed)?;
        match early.is_empty() {
            true => Ok(stream),
            false => Err(DialError::Reach("proxy sent bytes before we did".into())),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

/// `*`, an address, a network, a host name, or a domain with everything below it.
fn matches(pattern: &str, host: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return pattern.parse::<IpNet>().is_ok_and(|net| net.contains(&address))
            || pattern.parse::<IpAddr>().is_ok_and(|pattern| pattern == address);
    }
    let domain = pattern.trim_start_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_takes_names_domains_and_networks() {
        let yes = [
            ("*", "a"),
            ("example.com", "example.com"),
            (".example.com", "www.Example.com"),
            ("10.0.0.0/8", "10.1.2.3"),
            ("::1", "::1"),
        ];
        let no = [("example.com", "badexample.com"), ("10.0.0.0/8", "11.0.0.1"), ("1.2.3.4", "1.2.3.40")];
        assert!(yes.iter().all(|(pattern, host)| matches(pattern, host)));
        assert!(!no.iter().any(|(pattern, host)| matches(pattern, host)));
    }

    #[test]
    fn a_proxy_never_shows_its_password() {
        let proxy = Proxy::new("http://user:secret@proxy:8080", None, &[]).unwrap();
        assert_eq!(format!("{proxy:?}"), "Proxy(proxy:8080)");
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNlcjpzZWNyZXQ="));
        let error = Proxy::new("https://user:secret@proxy", None, &[]).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
