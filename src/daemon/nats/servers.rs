//! Which servers may be dialled, and how: all of them inside TLS, or all of them in clear. INFO travels in clear
//! before TLS begins, so the addresses that it announces never decide this.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use async_nats::{Server, ServerAddr};
use rustls::pki_types::ServerName;

use crate::daemon::loopback::is_loopback;

/// What a URL must not hold.
const NO_LOGIN: &str =
    "a URL must not hold a login: remove it, and set user and password_file (or token_file)";

/// The servers of `[nats]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    configured: Vec<ServerAddr>,
    way: Way,
}

/// How every server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// Inside TLS; certificates are checked against these names.
    Tls(Vec<ServerName<'static>>),
    Clear {
        /// Whether the owner has accepted that for servers elsewhere.
        beyond_loopback: bool,
    },
}

impl Servers {
    /// Checks a list of URLs. `asks_for_tls` is the key of another setting that makes sense with TLS only.
    ///
    /// # Errors
    /// What is wrong, in words that never repeat a login.
    pub fn parse(
        urls: &[String],
        asks_for_tls: Option<&str>,
        allow_plaintext: bool,
    ) -> Result<Servers, String> {
        let configured = urls.iter().map(|url| parse(url)).collect::<Result<Vec<_>, _>>()?;
        let encrypted = configured.iter().find(|server| is_tls(server));
        let clear = configured.iter().find(|server| !is_tls(server));
        if let (Some(encrypted), Some(clear)) = (encrypted, clear) {
            return Err(format!(
                "{} is encrypted and {} is not: write tls:// (or wss://) for all of them",
                Spelt(encrypted),
                Spelt(clear)
            ));
        }
        if let Some(key) = asks_for_tls
            && let Some(server) = configured.iter().find(|server| server.scheme() == "ws")
        {
            return Err(format!(
                "{} is never encrypted, and {key} asks for TLS: write wss://",
                Spelt(server)
            ));
        }
        let way = if encrypted.is_some() || asks_for_tls.is_some() {
            Way::Tls(configured.iter().map(certificate_name).collect::<Result<_, _>>()?)
        } else {
            let is_elsewhere = configured.iter().any(|server| !is_loopback(server.host()));
            Way::Clear { beyond_loopback: allow_plaintext || is_elsewhere }
        };
        Ok(Servers { configured, way })
    }

    /// As the library wants them.
    pub fn configured(&self) -> &[ServerAddr] {
        &self.configured
    }

    /// With TLS, the names of which a certificate must have one.
    pub fn tls_names(&self) -> Option<&[ServerName<'static>]> {
        match &self.way {
            Way::Tls(names) => Some(names),
            Way::Clear { .. } => None,
        }
    }

    /// The first server beyond loopback that is reached in clear.
    pub fn exposed(&self) -> Option<String> {
        match self.way {
            Way::Tls(_) => None,
            Way::Clear { .. } => {
                let elsewhere = self.configured.iter().find(|server| !is_loopback(server.host()))?;
                Some(Spelt(elsewhere).to_string())
            }
        }
    }

    /// Whether an address may be dialled that a server has announced.
    fn may_follow(&self, server: &ServerAddr) -> bool {
        // The library upgrades only plain sockets to TLS, so an announced `ws://` would be dialled in clear. And a
        // server that is reached by websocket announces ports for websockets as if they were plain ones.
        if server.is_websocket() || self.configured.iter().all(ServerAddr::is_websocket) {
            return false;
        }
        match self.way {
            Way::Tls(_) => true,
            Way::Clear { beyond_loopback } => beyond_loopback || is_loopback(server.host()),
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

/// Chooses the server of each try: in each round every configured server, in random order, and one announced server.
/// However many are announced, and however long each of them takes, a configured one is always among the next tries.
#[derive(Debug)]
pub struct Turns {
    servers: Servers,
    left: Mutex<Left>,
}

/// Who is still to have a turn, the next one last.
#[derive(Debug, Default)]
struct Left {
    configured: Vec<ServerAddr>,
    announced: Vec<ServerAddr>,
}

impl Turns {
    /// Begins with the first round.
    pub fn of(servers: Servers) -> Turns {
        let configured = shuffled(servers.configured.iter());
        Turns { servers, left: Mutex::new(Left { configured, announced: Vec::new() }) }
    }

    /// The next one; `pool` is what the library knows. `None` only when no server is configured.
    pub fn next(&self, pool: &[Server]) -> Option<ServerAddr> {
        // Nothing panics while holding it.
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = left.configured.pop() {
            return Some(next);
        }
        left.configured = shuffled(self.servers.configured.iter());
        if left.announced.is_empty() {
            let announced = pool.iter().filter(|server| server.is_discovered).map(|server| &server.addr);
            left.announced = shuffled(announced.filter(|server| self.servers.may_follow(server)));
        }
        left.announced.pop().or_else(|| left.configured.pop())
    }
}

/// Hosts that were cut off together must not come back to the same server.
fn shuffled<'a>(servers: impl Iterator<Item = &'a ServerAddr>) -> Vec<ServerAddr> {
    let random = RandomState::new();
    let mut servers: Vec<_> = servers.cloned().collect();
    servers.sort_by_cached_key(|server| random.hash_one(server.as_url_str()));
    servers
}

fn parse(url: &str) -> Result<ServerAddr, String> {
    let parsed: Result<ServerAddr, _> = url.parse();
    match parsed {
        Ok(server) if server.has_user_pass() || server.password().is_some() => Err(NO_LOGIN.into()),
        Ok(server) if server.host().is_empty() => Err(format!("{url} has no host")),
        Ok(server) => Ok(server),
        // What cannot be parsed may hold a password all the same.
        Err(_) if url.contains('@') => Err(NO_LOGIN.into()),
        Err(error) => Err(format!("{url}: {error}")),
    }
}

fn is_tls(server: &ServerAddr) -> bool {
    matches!(server.scheme(), "tls" | "wss")
}

fn certificate_name(server: &ServerAddr) -> Result<ServerName<'static>, String> {
    ServerName::try_from(server.host().to_owned())
        .map_err(|_| format!("`{}` cannot be the name in a certificate", server.host()))
}

struct Spelt<'a>(&'a ServerAddr);

impl fmt::Display for Spelt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), HostPort(self.0))
    }
}

struct HostPort<'a>(&'a ServerAddr);

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

    fn servers(urls: &[&str], asks_for_tls: Option<&str>) -> Result<Servers, String> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Servers::parse(&urls, asks_for_tls, false)
    }

    fn announced(servers: &Servers, urls: &[&str]) -> Vec<String> {
        let urls = urls.iter().filter(|url| servers.may_follow(&url.parse().unwrap()));
        urls.map(|url| (*url).to_owned()).collect()
    }

    #[test]
    fn a_list_is_encrypted_as_a_whole_or_not_at_all() {
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
        assert_eq!(servers(&["nats://"], None).unwrap_err(), "nats:// has no host");
        assert!(servers(&["http://h"], None).unwrap_err().contains("invalid scheme"));
    }

    #[test]
    fn what_is_in_clear_beyond_loopback_is_told_by_its_spelling() {
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
        for (url, spelt) in [
            ("h", "nats://h:4222"),
            ("nats://[2001:db8::1]:1", "nats://[2001:db8::1]:1"),
            ("ws://h", "ws://h:80"),
            ("nats://127.0.0.1.nip.io", "nats://127.0.0.1.nip.io:4222"),
        ] {
            assert_eq!(servers(&["localhost", url], None).unwrap().exposed().as_deref(), Some(spelt));
            assert_eq!(servers(&[url], Some("ca_file")).ok().and_then(|servers| servers.exposed()), None);
        }
    }

    #[test]
    fn announced_addresses_stay_inside_what_was_configured() {
        let urls = ["10.0.0.2:4222", "tls://evil", "ws://evil", "wss://evil", "localhost:1", "[::1]:2"];
        let plain = ["10.0.0.2:4222", "tls://evil", "localhost:1", "[::1]:2"];
        assert_eq!(announced(&servers(&["tls://a"], None).unwrap(), &urls), plain);
        assert_eq!(announced(&servers(&["nats://a"], None).unwrap(), &urls), plain);
        assert_eq!(announced(&servers(&["localhost"], None).unwrap(), &urls), ["localhost:1", "[::1]:2"]);
        assert_eq!(announced(&servers(&["wss://a"], None).unwrap(), &urls), [""; 0]);
        let allowed = Servers::parse(&["localhost".to_owned()], None, true).unwrap();
        assert_eq!(announced(&allowed, &urls), plain);
    }

    #[test]
    fn every_round_has_all_configured_servers_and_one_that_was_announced() {
        let turns = Turns::of(servers(&["tls://a", "tls://b"], None).unwrap());
        let announced = |host: &str| Server {
            addr: host.parse().unwrap(),
            failed_attempts: 0,
            did_connect: false,
            is_discovered: true,
            last_error: None,
        };
        let pool = ["c", "d", "ws://evil"].map(announced);
        let next = || turns.next(&pool).unwrap().host().to_owned();
        let mut others = Vec::new();
        for _ in 0..4 {
            let mut configured = [next(), next()];
            configured.sort();
            assert_eq!(configured, ["a", "b"]);
            others.push(next());
        }
        others.sort();
        assert_eq!(others, ["c", "c", "d", "d"]);
        // Nobody has announced anything.
        let alone = Turns::of(servers(&["tls://a"], None).unwrap());
        assert!((0..4).all(|_| alone.next(&[]).unwrap().host() == "a"));
    }
}
