//! The `[nats]` section: what is written, and what was checked.

use serde::Deserialize;

use crate::config::{ConfigError, Loaded};
use crate::secret::resolve_path;

use super::login::Login;
use super::servers::Servers;
use super::trust::TlsFiles;

/// `[nats]` as written.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// A grant, which only its issuer can sign.
    Signed,
    /// A token (simple mode). Anyone who reads it can use it.
    Tokens,
}

/// `[nats]` as checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nats {
    pub(super) servers: Servers,
    pub(super) name: Option<String>,
    pub(super) login: Login,
    pub(super) files: TlsFiles,
    pub(super) tls_first: bool,
    /// Messages that one subscription may have in its queue.
    pub(super) queue: usize,
    allow_plaintext: bool,
}

/// The usual length of a subscription's queue. More messages are dropped: the library's own 65,536 would let one
/// publisher fill the memory.
const QUEUE: usize = 64;

impl RawNats {
    /// Checks the section at the path `at`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file and line.
    pub fn check(&self, loaded: &Loaded, at: &[&str], commands: Commands) -> Result<Nats, ConfigError> {
        let wrong = |key: &str, why: &str| loaded.error_at(&[at, &[key]].concat(), why);
        if self.servers.is_empty() {
            let error = wrong("servers", "is needed: a list such as [\"tls://nats.example.com:4222\"]");
            let section = format!("[{}]", at.join("."));
            return Err(error.corrected_by(Some(&section), "servers = [\"tls://nats.example.com:4222\"]"));
        }
        let login = self.login(wrong)?;
        let files = self.files(wrong)?;
        let servers = Servers::parse(&self.servers, self.tls_setting(), self.allow_plaintext)
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
        let allow_plaintext = self.allow_plaintext;
        Ok(Nats { servers, name, login, files, tls_first, queue: QUEUE, allow_plaintext })
    }

    /// The first setting that makes sense only with TLS.
    fn tls_setting(&self) -> Option<&'static str> {
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
            _ => Login::None,
        })
    }

    fn files(&self, wrong: impl Fn(&str, &str) -> ConfigError) -> Result<TlsFiles, ConfigError> {
        let path = |key: &str, path: &Option<String>| match path {
            None => Ok(None),
            Some(path) => resolve_path(path).map(Some).map_err(|error| wrong(key, &error.to_string())),
        };
        let client = match (path("cert_file", &self.cert_file)?, path("key_file", &self.key_file)?) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(wrong("cert_file", "cert_file and key_file go together")),
        };
        Ok(TlsFiles { ca: path("ca_file", &self.ca_file)?, client })
    }
}

impl Nats {
    /// The same with room for so many messages in the queue of each subscription.
    pub fn with_queue(self, messages: usize) -> Nats {
        Nats { queue: messages, ..self }
    }

    pub fn describe(&self) -> String {
        self.servers.to_string()
    }

    /// What the owner should know about settings that are accepted.
    pub fn remark(&self) -> Option<String> {
        let server = self.servers.exposed().filter(|_| !self.allow_plaintext)?;
        Some(format!(
            "NATS: {server} is not encrypted: anyone who is on the way reads commands and records and can answer in the \
             server's place; use tls://, or set allow_plaintext = true beside servers if the way is safe"
        ))
    }

    /// The public key, if the login uses a key.
    pub fn public_key(&self) -> Option<String> {
        self.login.public_key()
    }
}
