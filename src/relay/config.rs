//! The relay's configuration: what is written ([`Raw`]) and what was checked ([`Settings`]).

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::daemon::config::{ConfigError, Loaded};
use crate::daemon::listen::ListenAddress;
use crate::daemon::loopback;
use crate::daemon::secret::resolve_path;
use crate::link::dial::Address;
use crate::link::leg::Limits;
use crate::link::reader::Sizes;
use crate::protocol::grant::DEFAULT_LEEWAY;
use crate::protocol::host::HostId;
use crate::protocol::issuers::Issuers;
use crate::protocol::token::TokenHash;

use super::places::Room;
use super::rendezvous::Caps;

/// The shipped example, which is also `--print-default-config`.
pub const EXAMPLE: &str = include_str!("../../packaging/relay/config.toml");

/// What is written. `P` is the section of the bundled platform, which the relay knows nothing of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, bound = "P: Deserialize<'de>")]
pub struct Raw<P> {
    listen: Vec<ListenAddress>,
    public_urls: Vec<String>,
    admin: Option<ListenAddress>,
    #[serde(deserialize_with = "networks")]
    trusted_proxies: Vec<IpNet>,
    tls: Option<RawTls>,
    auth: RawAuth,
    limits: RawLimits,
    /// The bundled platform's section.
    pub platform: Option<P>,
}

impl<P> Default for Raw<P> {
    fn default() -> Raw<P> {
        Raw {
            listen: vec![ListenAddress::Tcp("127.0.0.1:8080".into())],
            public_urls: vec![],
            admin: Some(ListenAddress::Tcp("127.0.0.1:8081".into())),
            trusted_proxies: vec![],
            tls: None,
            auth: RawAuth::default(),
            limits: RawLimits::default(),
            platform: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert_file: String,
    key_file: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAuth {
    mode: Mode,
    issuers_dir: String,
    #[serde(with = "humantime_serde")]
    leeway: Duration,
    host_key: Vec<RawHostKey>,
}

impl Default for RawAuth {
    fn default() -> RawAuth {
        RawAuth {
            mode: Mode::Signed,
            issuers_dir: "/etc/stream-relay/issuers.d".into(),
            leeway: DEFAULT_LEEWAY,
            host_key: vec![],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Signed,
    Opaque,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHostKey {
    host: HostId,
    sha256: TokenHash,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    #[serde(with = "humantime_serde")]
    client_wait: Duration,
    #[serde(with = "humantime_serde")]
    host_wait: Duration,
    waiting: usize,
    waiting_per_address: usize,
    connections: usize,
    connections_per_address: usize,
    max_streams: u32,
    #[serde(with = "humantime_serde")]
    session: Duration,
    frame: u64,
    message: u64,
    #[serde(with = "humantime_serde")]
    write_stall: Duration,
    #[serde(with = "humantime_serde")]
    ping_interval: Duration,
    #[serde(with = "humantime_serde")]
    close_wait: Duration,
    #[serde(with = "humantime_serde")]
    tls_handshake: Duration,
    #[serde(with = "humantime_serde")]
    request_head: Duration,
    #[serde(with = "humantime_serde")]
    drain_timeout: Duration,
}

impl Default for RawLimits {
    fn default() -> RawLimits {
        let leg = Limits::default();
        RawLimits {
            client_wait: Duration::from_secs(5),
            host_wait: Duration::from_secs(60),
            waiting: 4096,
            waiting_per_address: 16,
            connections: 16384,
            connections_per_address: 256,
            max_streams: 64,
            session: Duration::from_secs(12 * 3600),
            frame: leg.sizes.frame,
            message: leg.sizes.message,
            write_stall: leg.write_stall,
            ping_interval: leg.ping_interval,
            close_wait: leg.close_wait,
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// What was checked, and what a relay runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses for hosts and clients.
    pub listen: Vec<ListenAddress>,
    /// The relay's own URLs, without a slash at the end; never empty.
    pub public_urls: Vec<String>,
    /// Address of the admin listener.
    pub admin: Option<ListenAddress>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How hosts prove that they may be here.
    pub auth: Auth,
    /// Bounds of a websocket.
    pub leg: Limits,
    /// How many may be here at once.
    pub caps: Caps,
    /// Places for connections that are neither linked nor parked yet.
    pub room: Room,
    /// Most streams of one session.
    pub max_streams: u32,
    /// Hard end of every session.
    pub session: Duration,
    /// How long a client waits for its host.
    pub client_wait: Duration,
    /// How long a parked host waits for its client.
    pub host_wait: Duration,
    /// From TCP to the end of the TLS handshake.
    pub tls_handshake: Duration,
    /// For the head of an HTTP request.
    pub request_head: Duration,
    /// How long linked streams may go on when stopping.
    pub drain_timeout: Duration,
}

impl Settings {
    /// What stands before the paths of the wire contract where browsers are: a proxy may serve the relay below a path.
    pub fn prefixes(&self) -> BTreeSet<String> {
        let path = |url: &String| Address::of(url).map(|own| own.path().trim_end_matches('/').to_owned());
        self.public_urls.iter().filter_map(|url| path(url).ok()).collect()
    }

    /// Whether `url` is one of this relay's own, however it is spelt.
    pub fn is_named(&self, url: &str) -> bool {
        let leads_here = |named: &Address, own: &str| Address::of(own).is_ok_and(|own| own.leads_to(named));
        Address::of(url).is_ok_and(|named| self.public_urls.iter().any(|own| leads_here(&named, own)))
    }

    /// Whether something has changed that a running relay cannot take over.
    pub fn needs_restart_after(&self, old: &Settings) -> bool {
        let caps = |caps: Caps| (caps.waiting, caps.waiting_per_address);
        self.listen != old.listen
            || self.admin != old.admin
            || self.tls != old.tls
            || self.room != old.room
            || caps(self.caps) != caps(old.caps)
    }
}

/// Addresses and networks; an address alone is a network of one.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let network = |text: &String| match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            let what = "is neither an address nor a network, such as \"192.0.2.1\" or \"10.0.0.0/8\"";
            D::Error::custom(format_args!("\"{text}\" {what}"))
        }),
    };
    Vec::<String>::deserialize(deserializer)?.iter().map(network).collect()
}

/// How hosts prove that they may be here.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Signed grants.
    Signed {
        /// The platform's public keys.
        issuers: Issuers,
        /// How far clocks may be apart.
        leeway: Duration,
    },
    /// Simple mode: hash of each host's relay key.
    Opaque(HashMap<HostId, TokenHash>),
}

impl<P> Raw<P> {
    /// Checks what is written; reads the public keys.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub fn check(&self, loaded: &Loaded) -> Result<Settings, ConfigError> {
        let limits = &self.limits;
        let wrong = |path: &[&str], why: &str| Err(loaded.error_at(path, why));
        if self.listen.is_empty() {
            return wrong(&["listen"], "no address to listen at");
        }
        if self.public_urls.is_empty() {
            return wrong(
                &["public_urls"],
                "is needed: the URLs under which hosts and clients reach this relay, such as wss://relay.example.com",
            );
        }
        for url in &self.public_urls {
            Address::of_relay(url).map_err(|error| loaded.error_at(&["public_urls"], error))?;
        }
        if let Some(ListenAddress::Tcp(admin)) = &self.admin
            && !is_loopback(admin)
        {
            return wrong(&["admin"], "must be a loopback address or unix:/path: it needs no password");
        }
        for (key, value) in [
            ("write_stall", limits.write_stall),
            ("ping_interval", limits.ping_interval),
            ("tls_handshake", limits.tls_handshake),
            ("request_head", limits.request_head),
            ("session", limits.session),
            ("host_wait", limits.host_wait),
        ] {
            if value.is_zero() {
                return wrong(&["limits", key], "must be longer than 0s");
            }
        }
        for (key, value) in [
            ("waiting", limits.waiting),
            ("waiting_per_address", limits.waiting_per_address),
            ("connections", limits.connections),
            ("connections_per_address", limits.connections_per_address),
            ("max_streams", limits.max_streams as usize),
        ] {
            if value == 0 {
                return wrong(&["limits", key], "must be at least 1");
            }
        }
        // The path of files named here may be below the service's credentials directory.
        let path = |key: &[&str], path: &str| resolve_path(path).map_err(|error| loaded.error_at(key, error));
        let tls = match &self.tls {
            None => None,
            Some(tls) => Some((
                path(&["tls", "cert_file"], &tls.cert_file)?,
                path(&["tls", "key_file"], &tls.key_file)?,
            )),
        };
        Ok(Settings {
            listen: self.listen.clone(),
            public_urls: self.public_urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
            admin: self.admin.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            tls,
            auth: self.auth.check(loaded)?,
            leg: Limits {
                sizes: Sizes { frame: limits.frame, message: limits.message },
                write_stall: limits.write_stall,
                ping_interval: limits.ping_interval,
                close_wait: limits.close_wait,
            },
            caps: Caps { waiting: limits.waiting, waiting_per_address: limits.waiting_per_address },
            room: Room { places: limits.connections, per_address: limits.connections_per_address },
            max_streams: limits.max_streams,
            session: limits.session,
            client_wait: limits.client_wait,
            host_wait: limits.host_wait,
            tls_handshake: limits.tls_handshake,
            request_head: limits.request_head,
            drain_timeout: limits.drain_timeout,
        })
    }
}

impl RawAuth {
    fn check(&self, loaded: &Loaded) -> Result<Auth, ConfigError> {
        match self.mode {
            Mode::Signed => {
                let at = ["auth", "issuers_dir"];
                let dir = resolve_path(&self.issuers_dir).map_err(|error| loaded.error_at(&at, error))?;
                let issuers = Issuers::read_dir(&dir).map_err(|error| loaded.error_at(&at, error))?;
                if issuers.is_empty() {
                    let why = format!("no <kid>.pub in {}: no grant could be verified", dir.display());
                    return Err(loaded.error_at(&at, why));
                }
                Ok(Auth::Signed { issuers, leeway: self.leeway })
            }
            Mode::Opaque if self.host_key.is_empty() => Err(loaded.error_at(
                &["auth", "host_key"],
                "simple mode needs the relay key of each host ([[auth.host_key]])",
            )),
            Mode::Opaque => {
                Ok(Auth::Opaque(self.host_key.iter().map(|key| (key.host.clone(), key.sha256)).collect()))
            }
        }
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    loopback::is_loopback(host)
}
