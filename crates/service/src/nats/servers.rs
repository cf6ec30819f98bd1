//! Which servers may be dialled, and whether with TLS: all of them or none. INFO is not encrypted, because it comes
//! before TLS begins. So the addresses that it announces never decide this.

use std::fmt;

use async_nats::ServerAddr;
use rustls::pki_types::ServerName;

use crate::loopback::is_loopback;

/// The error for a URL with a user or password.
const NO_LOGIN: &str =
    "a URL must not hold a login: remove it, and set user and password_file (or token_file)";

/// The servers of `[nats]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Servers {
    configured: Vec<ServerAddr>,
    transport: Transport,
}

/// How every server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Transport {
    /// Certificates are checked against these names.
    Tls(Vec<ServerName<'static>>),
    Clear {
        /// Whether servers on other machines may be dialled, too.
        beyond_loopback: bool,
    },
}

impl Servers {
    /// Checks a list of URLs. `tls_setting` is the key of another setting that makes sense only with TLS.
    ///
    /// # Errors
    /// What is wrong, without a user or password.
    pub(super) fn parse(
        urls: &[String],
        tls_setting: Option<&str>,
        allow_plaintext: bool,
    ) -> Result<Servers, String> {
        let configured = urls.iter().map(|url| parse(url)).collect::<Result<Vec<_>, _>>()?;
        let encrypted = configured.iter().find(|server| is_tls(server));
        let clear = configured.iter().find(|server| !is_tls(server));
        if let (Some(encrypted), Some(clear)) = (encrypted, clear) {
            return Err(format!(
                "{} is encrypted and {} is not: write tls:// (or wss://) for all of them",
                UrlWithPort(encrypted),
                UrlWithPort(clear)
            ));
        }
        if let Some(key) = tls_setting
            && let Some(server) = configured.iter().find(|server| server.scheme() == "ws")
        {
            return Err(format!(
                "{} is never encrypted, and {key} asks for TLS: write wss://",
                UrlWithPort(server)
            ));
        }
        let transport = if encrypted.is_some() || tls_setting.is_some() {
            Transport::Tls(configured.iter().map(certificate_name).collect::<Result<_, _>>()?)
        } else {
            let is_elsewhere = configured.iter().any(|server| !is_loopback(server.host()));
            Transport::Clear { beyond_loopback: allow_plaintext || is_elsewhere }
        };
        Ok(Servers { configured, transport })
    }

    pub(super) fn configured(&self) -> &[ServerAddr] {
        &self.configured
    }

    /// With TLS, the names that a certificate may have.
    pub(super) fn tls_names(&self) -> Option<&[ServerName<'static>]> {
        match &self.transport {
            Transport::Tls(names) => Some(names),
            Transport::Clear { .. } => None,
        }
    }

    /// The first server on another machine that is dialled without TLS.
    pub(super) fn exposed(&self) -> Option<String> {
        match self.transport {
            Transport::Tls(_) => None,
            Transport::Clear { .. } => {
                let elsewhere = self.configured.iter().find(|server| !is_loopback(server.host()))?;
                Some(UrlWithPort(elsewhere).to_string())
            }
        }
    }

    /// Whether an address that a server has announced may be dialled.
    pub(super) fn may_follow(&self, server: &ServerAddr) -> bool {
        // The library upgrades only plain sockets to TLS, so it would dial an announced `ws://` without TLS. And a
        // server that is dialled by websocket announces its websocket ports as if they were plain ones.
        if server.is_websocket() || self.configured.iter().all(ServerAddr::is_websocket) {
            return false;
        }
        match self.transport {
            Transport::Tls(_) => true,
            Transport::Clear { beyond_loopback } => beyond_loopback || is_loopback(server.host()),
        }
    }
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, server) in self.configured.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{}", HostPort(server))?;
        }
        Ok(())
    }
}

fn parse(url: &str) -> Result<ServerAddr, String> {
    let parsed: Result<ServerAddr, _> = url.parse();
    match parsed {
        Ok(server) if server.has_user_pass() || server.password().is_some() => Err(NO_LOGIN.into()),
        Ok(server) if server.host().is_empty() => {
            Err(format!("\"{url}\" names no server: write one such as tls://nats.example.com:4222"))
        }
        Ok(server) => Ok(server),
        // A URL that cannot be parsed may still have a password.
        Err(_) if url.contains('@') => Err(NO_LOGIN.into()),
        Err(error) => Err(format!("{url}: {error}; write a URL such as tls://nats.example.com:4222")),
    }
}

fn is_tls(server: &ServerAddr) -> bool {
    matches!(server.scheme(), "tls" | "wss")
}

fn certificate_name(server: &ServerAddr) -> Result<ServerName<'static>, String> {
    ServerName::try_from(server.host().to_owned())
        .map_err(|_| format!("`{}` cannot be the name in a certificate", server.host()))
}

/// A server's URL with its port, as errors show it.
struct UrlWithPort<'a>(&'a ServerAddr);

impl fmt::Display for UrlWithPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), HostPort(self.0))
    }
}

/// A server's host and port, as logs show them.
pub(super) struct HostPort<'a>(pub &'a ServerAddr);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.host() {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.0.port()),
            host => write!(f, "{host}:{}", self.0.port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(urls: &[&str], tls_setting: Option<&str>) -> Result<Servers, String> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Servers::parse(&urls, tls_setting, false)
    }

    fn announced(servers: &Servers, urls: &[&str]) -> Vec<String> {
        let urls = urls.iter().filter(|url| servers.may_follow(&url.parse().unwrap()));
        urls.map(|url| (*url).to_owned()).collect()
    }

    #[test]
    fn a_list_uses_tls_for_all_servers_or_for_none() {
        for (urls, key, is_tls) in [
            (&["tls://a:4222", "TLS://B", "wss://c:443"][..], None, true),
            (&["nats://a:4222", "b"], Some("ca_file"), true),
            (&["nats://a:4222", "b", "ws://c"], None, false),
        ] {
            assert_eq!(servers(urls, key).unwrap().tls_names().is_some(), is_tls, "{urls:?}");
        }
        for mixed in [
            &["tls://a", "nats://b"][..],
            &["b:4222", "tls://a"],
            &["wss://a", "nats://b"],
            &["tls://a", "ws://b"],
        ] {
            assert!(servers(mixed, None).unwrap_err().ends_with("write tls:// (or wss://) for all of them"));
            assert!(servers(mixed, Some("ca_file")).is_err());
        }
        let error = servers(&["nats://a", "ws://b:80"], Some("tls_first")).unwrap_err();
        assert_eq!(error, "ws://b:80 is never encrypted, and tls_first asks for TLS: write wss://");
        assert!(servers(&["tls://a b"], None).is_err());
    }

    #[test]
    fn a_url_without_a_host_or_with_a_login_is_refused_and_never_repeated() {
        for url in
            ["nats://u:hunter2@h", "hunter2@h", "tls://:hunter2@h", "nats://u:hunter2@h:x", "ws://hunter2@h"]
        {
            assert_eq!(servers(&[url], None).unwrap_err(), NO_LOGIN, "{url}");
        }
        assert!(servers(&["nats://"], None).unwrap_err().starts_with("\"nats://\" names no server"));
        assert!(servers(&["http://h"], None).unwrap_err().contains("invalid scheme"));
    }

    #[test]
    fn a_server_elsewhere_without_tls_is_reported_by_its_url() {
        for url in [
            "localhost",
            "nats://LOCALHOST:4222",
            "nats://127.8.9.1",
            "nats://[::1]:4222",
            "ws://localhost",
            "ws://[::1]",
        ] {
            assert_eq!(servers(&[url], None).unwrap().exposed(), None, "{url}");
            assert_eq!(servers(&[url], None).unwrap().exposed(), None, "{url}");
        }
        for (url, exposed) in [
            ("h", "nats://h:4222"),
            ("nats://[2001:db8::1]:1", "nats://[2001:db8::1]:1"),
            ("ws://h", "ws://h:80"),
            ("nats://127.0.0.1.nip.io", "nats://127.0.0.1.nip.io:4222"),
        ] {
            assert_eq!(servers(&["localhost", url], None).unwrap().exposed().as_deref(), Some(exposed));
            assert_eq!(servers(&[url], Some("ca_file")).ok().and_then(|servers| servers.exposed()), None);
        }
    }

    #[test]
    fn announced_addresses_stay_within_what_was_configured() {
        let urls = ["10.0.0.2:4222", "tls://evil", "ws://evil", "wss://evil", "localhost:1", "[::1]:2"];
        let plain = ["10.0.0.2:4222", "tls://evil", "localhost:1", "[::1]:2"];
        assert_eq!(announced(&servers(&["tls://a"], None).unwrap(), &urls), plain);
        assert_eq!(announced(&servers(&["nats://a"], None).unwrap(), &urls), plain);
        assert_eq!(announced(&servers(&["localhost"], None).unwrap(), &urls), ["localhost:1", "[::1]:2"]);
        assert_eq!(announced(&servers(&["wss://a"], None).unwrap(), &urls), [""; 0]);
        let allowed = Servers::parse(&["localhost".to_owned()], None, true).unwrap();
        assert_eq!(announced(&allowed, &urls), plain);
    }
}
