//! The relay's configuration: the file ([`Raw`]), and how it becomes [`Settings`].

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use protocol::grant::DEFAULT_LEEWAY;
use protocol::host::HostId;
use protocol::token::TokenHash;
use service::config::{ConfigError, Loaded};
use service::listen::ListenAddress;
use service::loopback;
use service::secret::resolve_path;
use websocket::address::Address;
use websocket::connection::Limits;
use websocket::reader::Sizes;

use super::rendezvous::Caps;
use super::slots::SlotLimits;
pub use settings::{Auth, Settings};
use web::RawWeb;
pub use web::Web;
pub(crate) use web::is_exact;

mod settings;
mod web;

/// The shipped example, which is also `--print-default-config`.
pub const EXAMPLE: &str = include_str!("../../../packaging/relay/config.toml");

/// The file as written. `P` is the section of the bundled platform, which this crate does not know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, bound = "P: Deserialize<'de>")]
pub struct Raw<P> {
    listen: Vec<ListenAddress>,
    public_urls: Vec<String>,
    admin: Option<ListenAddress>,
    #[serde(deserialize_with = "networks")]
    trusted_proxies: Vec<IpNet>,
    tls: Option<RawTls>,
    connect: RawConnect,
    auth: RawAuth,
    limits: RawLimits,
    web: RawWeb,
    /// The section `[platform]`, if there is one.
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
            connect: RawConnect::default(),
            auth: RawAuth::default(),
            limits: RawLimits::default(),
            web: RawWeb::default(),
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConnect {
    allow_plaintext: bool,
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
        let websocket = Limits::default();
        RawLimits {
            client_wait: Duration::from_secs(5),
            host_wait: Duration::from_secs(60),
            waiting: 4096,
            waiting_per_address: 16,
            connections: 16384,
            connections_per_address: 256,
            max_streams: 64,
            session: Duration::from_secs(12 * 3600),
            frame: websocket.sizes.frame,
            message: websocket.sizes.message,
            write_stall: websocket.write_stall,
            ping_interval: websocket.ping_interval,
            close_wait: websocket.close_wait,
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Parses addresses and networks. An address is a network of one.
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

impl<P> Raw<P> {
    /// Checks the file, and reads the public keys that it names.
    ///
    /// # Errors
    /// The first mistake, with its file and line.
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
            Address::parse_relay(url).map_err(|error| loaded.error_at(&["public_urls"], error))?;
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
        // Paths may name files in the credentials directory of the service.
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
            plaintext_connect: self.connect.allow_plaintext,
            auth: self.auth.check(loaded)?,
            web: self.web.check(loaded)?,
            websocket: Limits {
                sizes: Sizes { frame: limits.frame, message: limits.message },
                write_stall: limits.write_stall,
                ping_interval: limits.ping_interval,
                close_wait: limits.close_wait,
            },
            caps: Caps { waiting: limits.waiting, waiting_per_address: limits.waiting_per_address },
            slots: SlotLimits { total: limits.connections, per_address: limits.connections_per_address },
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
                let issuers = keys::read_issuers(&dir).map_err(|error| loaded.error_at(&at, error))?;
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
