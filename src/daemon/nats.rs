//! The connection to NATS, as agent and platform both need it: settings, authentication that is read
//! anew on every connect, and events in words that say what to do.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_nats::connection::State;
use async_nats::{Auth, AuthError, Client, ClientError, ConnectOptions, Event, ServerError};
use nkeys::KeyPair;
use serde::Deserialize;

use super::config::{ConfigError, Loaded};
use super::secret::{Secret, resolve_path};
use super::tls;

/// The longest pause between tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The time between pings: three of them without an answer are a lost connection, so 60 s. The library's
/// own 60 s would leave a host whose link fell silent unreachable for three minutes.
const PING_INTERVAL: Duration = Duration::from_secs(20);

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
}

/// What was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nats {
    servers: Vec<async_nats::ServerAddr>,
    name: Option<String>,
    login: Login,
    ca_file: Option<PathBuf>,
    client_cert: Option<(PathBuf, PathBuf)>,
    tls_first: bool,
}

/// How we say who we are. Files are read on every connect, so that a renewed one is used.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Login {
    Nobody,
    Creds(String),
    Nkey(String),
    Password { user: String, file: String },
    Token(String),
}

impl RawNats {
    /// Checks what is written; `at` is the path of the section.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub fn check(&self, loaded: &Loaded, at: &[&str]) -> Result<Nats, ConfigError> {
        let wrong = |key: &str, why: &str| loaded.error_at(&[at, &[key]].concat(), why);
        if self.servers.is_empty() {
            let error = wrong("servers", "is needed: a list such as [\"tls://nats.example.com:4222\"]");
            let section = format!("[{}]", at.join("."));
            return Err(error.mended_by(Some(&section), "servers = [\"tls://nats.example.com:4222\"]"));
        }
        let mut servers = Vec::new();
        for server in &self.servers {
            let parsed = server.parse().map_err(|error| wrong("servers", &format!("{server}: {error}")))?;
            servers.push(parsed);
        }
        let ways = [&self.creds_file, &self.nkey_seed_file, &self.password_file, &self.token_file];
        if ways.iter().filter(|way| way.is_some()).count() > 1 {
            return Err(wrong(
                "creds_file",
                "only one of creds_file, nkey_seed_file, password_file and token_file",
            ));
        }
        let login = match (&self.creds_file, &self.nkey_seed_file, &self.password_file, &self.token_file) {
            (Some(file), ..) => Login::Creds(file.clone()),
            (_, Some(file), ..) => Login::Nkey(file.clone()),
            (.., Some(file), _) => {
                let user = self.user.clone().ok_or_else(|| wrong("user", "is needed with password_file"))?;
                Login::Password { user, file: file.clone() }
            }
            (.., Some(file)) => Login::Token(file.clone()),
            _ if self.user.is_some() => return Err(wrong("user", "needs password_file")),
            _ => Login::Nobody,
        };
        let path = |key: &str, path: &Option<String>| match path {
            None => Ok(None),
            Some(path) => resolve_path(path).map(Some).map_err(|error| wrong(key, &error.to_string())),
        };
        let client_cert = match (path("cert_file", &self.cert_file)?, path("key_file", &self.key_file)?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("cert_file", "cert_file and key_file go together")),
        };
        Ok(Nats {
            servers,
            name: self.name.clone(),
            login,
            ca_file: path("ca_file", &self.ca_file)?,
            client_cert,
            tls_first: self.tls_first,
        })
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
        self.trust()?;
        let told = Arc::new(told);
        let mut options = self.login.options()?.retry_on_initial_connect();
        options = self.tls(options).name(self.name.as_deref().unwrap_or(name));
        options = options.ping_interval(PING_INTERVAL);
        options = options.reconnect_delay_callback(move |tries| pause(tries).min(LONGEST_PAUSE));
        options = options.event_callback(move |event| {
            let told = told.clone();
            async move { told(event) }
        });
        if let Some(inbox) = inbox {
            options = options.custom_inbox_prefix(inbox);
        }
        options.connect(&self.servers[..]).await.context("NATS")
    }

    /// Connects once, for a test.
    ///
    /// # Errors
    /// What failed.
    pub async fn try_connect(
        &self,
        inbox: String,
        told: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Client> {
        self.trust()?;
        let told = Arc::new(told);
        let options =
            self.tls(self.login.options()?).custom_inbox_prefix(inbox).event_callback(move |event| {
                let told = told.clone();
                async move { told(event) }
            });
        options.connect(&self.servers[..]).await.context("NATS")
    }

    /// The library tells nobody that this system trusts nobody.
    fn trust(&self) -> Result<()> {
        let is_tls = self.tls_first || self.servers.iter().any(async_nats::ServerAddr::tls_required);
        if is_tls && self.ca_file.is_none() {
            tls::system_roots().context("[nats]")?;
        }
        Ok(())
    }

    /// The servers, for people.
    pub fn describe(&self) -> String {
        let hosts = self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port()));
        hosts.collect::<Vec<_>>().join(", ")
    }

    fn tls(&self, mut options: ConnectOptions) -> ConnectOptions {
        if let Some(ca) = &self.ca_file {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((cert, key)) = &self.client_cert {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        if self.tls_first { options.tls_first() } else { options }
    }
}

impl Login {
    fn options(&self) -> Result<ConnectOptions> {
        if *self == Login::Nobody {
            return Ok(ConnectOptions::new());
        }
        // A file that cannot be read now is an error now; later ones are tried again.
        self.auth(&[])?;
        let login = self.clone();
        Ok(ConnectOptions::with_auth_callback(move |nonce| {
            let auth = login.auth(&nonce).map_err(|error| AuthError::new(format!("{error:#}")));
            async move { auth }
        }))
    }

    fn auth(&self, nonce: &[u8]) -> Result<Auth> {
        let mut auth = Auth::new();
        match self {
            Login::Nobody => {}
            Login::Token(file) => auth.token = Some(Secret::read(file)?.expose().to_owned()),
            Login::Password { user, file } => {
                auth.username = Some(user.clone());
                auth.password = Some(Secret::read(file)?.expose().to_owned());
            }
            Login::Nkey(file) => {
                let key = key_pair(file)?;
                auth.signature = Some(key.sign(nonce).with_context(|| format!("{file}: cannot sign"))?);
                auth.nkey = Some(key.public_key());
            }
            Login::Creds(file) => {
                let secret = Secret::read(file)?;
                let part = |label: &str| {
                    between(secret.expose(), label).with_context(|| format!("{file}: no {label} in it"))
                };
                let key = KeyPair::from_seed(part("USER NKEY SEED")?)
                    .with_context(|| format!("{file}: bad seed"))?;
                auth.signature = Some(key.sign(nonce).with_context(|| format!("{file}: cannot sign"))?);
                auth.jwt = Some(part("NATS USER JWT")?.to_owned());
            }
        }
        Ok(auth)
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

/// Reads an nkey seed file, such as the key of a host.
///
/// # Errors
/// When the file cannot be read or holds no seed.
pub fn key_pair(file: &str) -> Result<KeyPair> {
    KeyPair::from_seed(Secret::read(file)?.expose().trim())
        .with_context(|| format!("{file}: not an nkey seed"))
}

/// What stands between `-----BEGIN label-----` and the next line of dashes in a credentials file.
fn between<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("BEGIN {label}"))?;
    rest.lines().skip(1).map(str::trim).find(|line| !line.is_empty())
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
    fn a_credentials_file_is_taken_apart() {
        let creds = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n\nIMPORTANT\n\n\
                     -----BEGIN USER NKEY SEED-----\nSUX\n------END USER NKEY SEED------\n";
        assert_eq!(between(creds, "NATS USER JWT"), Some("abc"));
        assert_eq!(between(creds, "USER NKEY SEED"), Some("SUX"));
        assert_eq!(between("", "USER NKEY SEED"), None);
    }

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
