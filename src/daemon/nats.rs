//! The connection to NATS, as agent and platform both need it: settings, authentication that is read
//! again on every connect, and events in words that say what to do.

mod login;
mod servers;
mod trust;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectOptions, Event, ReconnectToServer, ServerError};
use serde::Deserialize;
use tracing::warn;

use super::config::{ConfigError, Loaded};
use super::secret::resolve_path;
use super::tls;

use login::Login;
use servers::{Servers, Turns};

pub use login::key_pair;

/// The longest pause between tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The time between pings: three of them without an answer are a lost connection, so 60 s. The library's
/// own 60 s would leave a host whose link fell silent unreachable for three minutes.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Messages that may wait for one of our subscriptions, and commands that may wait for the connection. What comes
/// faster than it is taken is dropped: the library's own 65,536 would let one publisher fill the memory.
const QUEUE: usize = 64;

/// How long nothing may come from a server that we are said to be connected to. The library gives the connection
/// up after three pings without an answer; one that has not done so after a fourth is stuck.
const STUCK: Duration = Duration::from_secs(4 * PING_INTERVAL.as_secs());

/// What is written in `[nats]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNats {
    servers: Vec<String>,
    name: Option<String>,
    creds_file: Option<String>,
    nkey_seed_file: Option<String>,
    user: Option<String>,
    password_file: Option<String>,
    token_file: Option<String>,
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
    tls_first: bool,
    allow_plaintext: bool,
}

/// What makes a command be obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// A grant, of which nobody else can make one.
    Signed,
    /// A token (simple mode): whoever reads it can use it.
    Tokens,
}

/// What was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nats {
    servers: Servers,
    name: Option<String>,
    login: Login,
    files: trust::Files,
    tls_first: bool,
    allow_plaintext: bool,
}

impl RawNats {
    /// Checks what is written; `at` is the path of the section.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub fn check(&self, loaded: &Loaded, at: &[&str], commands: Commands) -> Result<Nats, ConfigError> {
        let wrong = |key: &str, why: &str| loaded.error_at(&[at, &[key]].concat(), why);
        if self.servers.is_empty() {
            let error = wrong("servers", "is needed: a list such as [\"tls://nats.example.com:4222\"]");
            let section = format!("[{}]", at.join("."));
            return Err(error.mended_by(Some(&section), "servers = [\"tls://nats.example.com:4222\"]"));
        }
        let login = self.login(wrong)?;
        let files = self.files(wrong)?;
        let servers = Servers::parse(&self.servers, self.asks_for_tls(), self.allow_plaintext)
            .map_err(|why| wrong("servers", &why))?;
        let secret = login.secret_in_clear().or(match commands {
            Commands::Signed => None,
            Commands::Tokens => Some("every token of simple mode"),
        });
        if let (Some(server), Some(secret), false) = (servers.exposed(), secret, self.allow_plaintext) {
            let key = [at, &["allow_plaintext"]].concat().join(".");
            let why = format!(
                "{server} is not encrypted, and {secret} would travel in clear: use tls://, or set {key} = true if \
                 the way is safe"
            );
            return Err(wrong("servers", &why));
        }
        let (name, tls_first) = (self.name.clone(), self.tls_first);
        Ok(Nats { servers, name, login, files, tls_first, allow_plaintext: self.allow_plaintext })
    }

    /// The setting that makes sense with TLS only.
    fn asks_for_tls(&self) -> Option<&'static str> {
        let settings = [
            (self.tls_first, "tls_first"),
            (self.ca_file.is_some(), "ca_file"),
            (self.cert_file.is_some(), "cert_file"),
        ];
        settings.into_iter().find_map(|(is_set, key)| is_set.then_some(key))
    }

    fn login(&self, wrong: impl Fn(&str, &str) -> ConfigError) -> Result<Login, ConfigError> {
        let ways = [&self.creds_file, &self.nkey_seed_file, &self.password_file, &self.token_file];
        if ways.iter().filter(|way| way.is_some()).count() > 1 {
            return Err(wrong(
                "creds_file",
                "only one of creds_file, nkey_seed_file, password_file and token_file",
            ));
        }
        Ok(match (&self.creds_file, &self.nkey_seed_file, &self.password_file, &self.token_file) {
            (Some(file), ..) => Login::Creds(file.clone()),
            (_, Some(file), ..) => Login::Nkey(file.clone()),
            (.., Some(file), _) => {
                let user = self.user.clone().ok_or_else(|| wrong("user", "is needed with password_file"))?;
                Login::Password { user, file: file.clone() }
            }
            (.., Some(file)) => Login::Token(file.clone()),
            _ if self.user.is_some() => return Err(wrong("user", "needs password_file")),
            _ => Login::Nobody,
        })
    }

    fn files(&self, wrong: impl Fn(&str, &str) -> ConfigError) -> Result<trust::Files, ConfigError> {
        let path = |key: &str, path: &Option<String>| match path {
            None => Ok(None),
            Some(path) => resolve_path(path).map(Some).map_err(|error| wrong(key, &error.to_string())),
        };
        let client = match (path("cert_file", &self.cert_file)?, path("key_file", &self.key_file)?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("cert_file", "cert_file and key_file go together")),
        };
        Ok(trust::Files { ca: path("ca_file", &self.ca_file)?, client })
    }
}

impl Nats {
    /// Connects, and goes on trying for ever: `told` hears how it goes. `pause` gives the waits between
    /// tries. With `inbox`, answers come to subjects below it.
    ///
    /// # Errors
    /// When the settings cannot be used at all; a server that is down is no error.
    pub async fn connect(
        &self,
        name: &str,
        inbox: Option<String>,
        pause: impl Fn(usize) -> Duration + Send + Sync + 'static,
        told: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Client> {
        let told = Arc::new(told);
        let mut options = self.options()?.retry_on_initial_connect();
        options = options.name(self.name.as_deref().unwrap_or(name));
        options = options.ping_interval(PING_INTERVAL).subscription_capacity(QUEUE).client_capacity(QUEUE);
        options = options.reconnect_delay_callback(move |tries| pause(tries).min(LONGEST_PAUSE));
        let turns = Turns::of(self.servers.clone());
        options = options.reconnect_to_server_callback(move |pool, _| {
            let next = turns.next(&pool).map(|addr| ReconnectToServer { addr, delay: None });
            std::future::ready(next)
        });
        options = options.event_callback(move |event| {
            let told = told.clone();
            async move { told(event) }
        });
        if let Some(inbox) = inbox {
            options = options.custom_inbox_prefix(inbox);
        }
        options.connect(self.servers.configured()).await.context("NATS")
    }

    /// Connects once, for a test, and to no server but those that are configured.
    ///
    /// # Errors
    /// What failed.
    pub async fn try_connect(
        &self,
        inbox: String,
        told: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Client> {
        let told = Arc::new(told);
        let options = self.options()?.ignore_discovered_servers().custom_inbox_prefix(inbox);
        let options = options.event_callback(move |event| {
            let told = told.clone();
            async move { told(event) }
        });
        options.connect(self.servers.configured()).await.context("NATS")
    }

    /// Reads the files of login and trust as [`connect`](Nats::connect) does, and connects to nobody.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn look_into_files(&self) -> Result<()> {
        self.options().map(drop)
    }

    /// The servers, for people.
    pub fn describe(&self) -> String {
        self.servers.to_string()
    }

    /// What the owner should know of settings that are accepted all the same.
    pub fn remark(&self) -> Option<String> {
        let server = self.servers.exposed().filter(|_| !self.allow_plaintext)?;
        Some(format!(
            "NATS: {server} is not encrypted: whoever is on the way reads commands and records and can answer in the \
             server's place; use tls://, or set allow_plaintext = true beside servers if the way is safe"
        ))
    }

    /// The public key of the login, if it is by key.
    pub fn public_key(&self) -> Option<String> {
        self.login.public_key()
    }

    /// Login and TLS, the same for every way to connect.
    fn options(&self) -> Result<ConnectOptions> {
        let options = self.login.options()?;
        let Some(names) = self.servers.tls_names() else { return Ok(options) };
        if self.files.ca.is_none() {
            // The library tells nobody that this system trusts nobody.
            tls::system_roots().context("[nats]")?;
        }
        let config = self.files.client_config(names).context("[nats]")?;
        let options = options.require_tls(true);
        let options = if self.tls_first { options.tls_first() } else { options };
        // The library reads the system's certificates before it takes a configuration of ours, and fails if it cannot.
        Ok(match (tls::unreadable_roots(), &self.files.ca) {
            (None, _) => options.tls_client_config(config),
            (Some(why), Some(ca)) => {
                warn!("NATS: {why}: servers that are not in nats.servers are not dialled");
                let options = options.ignore_discovered_servers().add_root_certificates(ca.clone());
                match &self.files.client {
                    Some((certificate, key)) => {
                        options.add_client_certificate(certificate.clone(), key.clone())
                    }
                    None => options,
                }
            }
            (Some(why), None) => {
                warn!("NATS: {why}: no connection until that is repaired, or ca_file is set");
                options.tls_client_config(config)
            }
        })
    }
}

/// Whether a client does its part: while it says that it is connected, the server's answers to its pings come in.
#[derive(Debug)]
pub struct Heard {
    client: Client,
    last: Mutex<Last>,
}

/// When something was read last, or was not to be expected.
#[derive(Clone, Copy, Debug)]
struct Last {
    bytes: u64,
    at: Instant,
}

impl Heard {
    /// Begins to listen.
    pub fn of(client: Client) -> Heard {
        Heard { client, last: Mutex::new(Last { bytes: 0, at: Instant::now() }) }
    }

    /// Looks now. A server that is away, or a client that tries to reach one, is no fault of ours: a restart would
    /// end streams and mend nothing.
    ///
    /// # Errors
    /// When the client is stuck.
    pub fn check(&self) -> Result<(), String> {
        let bytes = self.client.statistics().in_bytes.load(std::sync::atomic::Ordering::Relaxed);
        let is_connected = self.client.connection_state() == State::Connected;
        // Nothing panics while holding it.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.check(bytes, is_connected, Instant::now())
    }
}

impl Last {
    fn check(&mut self, bytes: u64, is_connected: bool, now: Instant) -> Result<(), String> {
        if !is_connected || bytes != self.bytes {
            *self = Last { bytes, at: now };
        }
        let silent = now.saturating_duration_since(self.at);
        if silent > STUCK {
            return Err(format!(
                "the NATS client says that it is connected, and has read nothing for {} s",
                silent.as_secs()
            ));
        }
        Ok(())
    }
}

/// An event in words, with what would mend it.
pub fn explain(event: &Event) -> String {
    match event {
        Event::ServerError(ServerError::AuthorizationViolation) => {
            "NATS refuses the login: check the credentials in [nats]".into()
        }
        Event::ServerError(ServerError::Other(text)) => {
            match text.to_lowercase().contains("permissions violation") {
                true => format!("NATS: {text}: grant it in the server's permissions (docs/protocol.md)"),
                false => format!("NATS: {text}"),
            }
        }
        // This is how a refused login ends a connect.
        Event::ClientError(ClientError::Other(text)) if text.contains("authorization violation") => {
            explain(&Event::ServerError(ServerError::AuthorizationViolation))
        }
        // The library keeps the cause of a failed connect to itself.
        Event::ClientError(error) => format!("NATS: {error} (`stream-agent test-dial` says more)"),
        other => format!("NATS: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_violation_says_what_to_do() {
        let text = "Permissions Violation for Subscription to \"x\"".to_owned();
        assert!(explain(&Event::ServerError(ServerError::Other(text))).contains("grant it"));
    }

    #[test]
    fn only_a_connected_client_that_reads_nothing_is_stuck() {
        let begun = Instant::now();
        let mut last = Last { bytes: 0, at: begun };
        let mut at = |seconds: u64, bytes, is_connected| {
            last.check(bytes, is_connected, begun + Duration::from_secs(seconds))
        };
        assert_eq!(at(1, 100, true), Ok(()));
        // The library itself would give up after 60 s.
        assert_eq!(at(80, 100, true), Ok(()));
        let stuck = "the NATS client says that it is connected, and has read nothing for 82 s";
        assert_eq!(at(83, 100, true), Err(stuck.to_owned()));
        assert_eq!(at(84, 105, true), Ok(()));
        // Away for an hour, and then back.
        assert_eq!(at(100, 105, false), Ok(()));
        assert_eq!(at(3700, 105, false), Ok(()));
        assert_eq!(at(3701, 105, true), Ok(()));
        assert!(at(3800, 105, true).is_err());
    }
}
