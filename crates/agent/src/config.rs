//! The agent's configuration: the keys as written ([`Raw`]), and what they mean after all checks ([`Settings`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use protocol::command::DEFAULT_PREFIX;
use protocol::host::HostId;
use service::config::{Change, ConfigError, Loaded, is_missing};
use service::nats::{Nats, RawNats};
use service::tls;
use websocket::address::Address;
use websocket::connection::Limits;
use websocket::proxy::Proxy;

use super::inboxes::Inboxes;
use targets::Target;
use targets::sandbox::{OPENER_USER, SERVICE_USER};

use auth::RawAuth;
use limits::RawLimits;
use proxy::RawProxy;
use relay::RawRelay;
use split::RawSplit;

pub use auth::{Auth, HostKey};

mod auth;
mod limits;
mod proxy;
mod relay;
mod split;

/// The shipped example, which is also `--print-default-config`.
pub const EXAMPLE: &str = include_str!("../../../packaging/agent/config.toml");

/// The keys of the files, unchecked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    host_id: Option<HostId>,
    subject_prefix: Option<String>,
    inboxes: Option<Vec<String>>,
    nats: RawNats,
    relay: RawRelay,
    proxy: Option<RawProxy>,
    auth: RawAuth,
    split: RawSplit,
    limits: RawLimits,
    target: Option<toml::Value>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub host: HostId,
    /// What every subject begins with.
    pub prefix: String,
    /// Reply subjects that are answered.
    pub inboxes: Inboxes,
    pub nats: Nats,
    /// Relays that may be dialled, without a slash at the end.
    pub relays: Vec<String>,
    /// File of CA certificates for relays; without it those of the system.
    pub relay_ca: Option<PathBuf>,
    /// Proxy for dials to relays.
    pub proxy: Option<Proxy>,
    pub auth: Auth,
    /// Signs the proofs that grants with `cnf` ask for.
    pub host_key: Option<HostKey>,
    pub websocket: Limits,
    /// Limit of open streams of all targets together.
    pub streams: u32,
    /// Limit of sessions whose URL has not been used yet.
    pub unused: usize,
    /// Longest duration of a session.
    pub session: Duration,
    /// How long open streams may go on when stopping.
    pub drain_timeout: Duration,
    pub targets: Vec<Target>,
    /// Whether an opener is kept ready for the next session.
    pub spare: bool,
}

/// Reads the file, and `config.d` and `targets.d` next to it. If the agent runs as root, each program needs a `user`.
///
/// # Errors
/// The first error, with its file and line.
pub fn load(file: &Path, as_root: bool) -> Result<(Loaded, Settings), ConfigError> {
    let loaded = read(file, None)?;
    let settings = settings(&loaded, as_root)?;
    Ok((loaded, settings))
}

/// The settings of an unsplit agent.
///
/// # Errors
/// The first error, with its file and line.
pub fn settings(loaded: &Loaded, as_root: bool) -> Result<Settings, ConfigError> {
    let settings = loaded.parse::<Raw>()?.check(loaded)?;
    if as_root && let Some(target) = settings.targets.iter().find(|target| target.runs_as_agent()) {
        let why = "has no `user`, and the agent runs as root: write user = \"nobody\" or another, or user = \"root\" if \
                   every client may be root";
        return Err(loaded.error_at(&["target", &target.name], why));
    }
    Ok(settings)
}

/// Reads the file and `config.d` for the network half of a split agent, which may not read the targets.
///
/// # Errors
/// The first error, with its file and line.
pub fn load_network_half(file: &Path) -> Result<(Loaded, Settings), ConfigError> {
    let loaded = Loaded::read(file, &[file.with_file_name("config.d")], &[&["target"]])?;
    let raw = Raw { target: None, ..loaded.parse()? };
    raw.split.check(raw.auth.mode(), &loaded)?;
    let settings = raw.check(&loaded)?;
    Ok((loaded, settings))
}

/// Reads the file, and `config.d` and `targets.d` next to it, for an opener, which reads no secret.
///
/// # Errors
/// The first error, with its file and line.
pub fn load_opener(file: &Path) -> Result<opener::Settings, ConfigError> {
    opener_settings(&read(file, None)?)
}

/// The settings of an opener.
///
/// # Errors
/// The first error, with its file and line.
pub fn opener_settings(loaded: &Loaded) -> Result<opener::Settings, ConfigError> {
    let mut raw: Raw = loaded.parse()?;
    raw.split.check(raw.auth.mode(), loaded)?;
    raw.limits.check(loaded)?;
    // Programs of the agent's own user have a user for each session.
    for program in raw.target.as_mut().and_then(toml::Value::as_table_mut).into_iter().flatten() {
        if let Some(program) = program.1.as_table_mut()
            && program.get("user").and_then(toml::Value::as_str) == Some(SERVICE_USER)
        {
            program.remove("user");
        }
    }
    let targets = raw.targets(loaded)?;
    check_users(&targets, loaded)?;
    Ok(opener::Settings {
        host: raw.host(loaded)?,
        authority: raw.auth.authority(loaded)?,
        relays: raw.relay.check(loaded)?,
        has_host_key: raw.auth.has_host_key(),
        session: raw.limits.session,
        targets,
        tables: raw.tables(loaded)?,
    })
}

/// Refuses programs as the opener's user: such a program could do what the opener may.
fn check_users(targets: &[Target], loaded: &Loaded) -> Result<(), ConfigError> {
    match targets.iter().find(|target| target.user() == Some(OPENER_USER)) {
        None => Ok(()),
        Some(target) => {
            let why =
                "opens the targets: leave `user` out, and each session of the program has a user of its own";
            Err(loaded.error_at(&["target", &target.name, "user"], why))
        }
    }
}

/// All errors in the sections that every agent needs, so that they can be fixed together.
pub fn troubles(file: &Path) -> Vec<ConfigError> {
    let troubles = || {
        let loaded = read(file, None)?;
        let raw: Raw = loaded.parse()?;
        Ok([
            raw.host(&loaded).err(),
            raw.nats.check(&loaded, &["nats"], raw.auth.commands()).err(),
            raw.relay.check(&loaded).err(),
            raw.auth.check(&raw.relay, &loaded).err(),
        ])
    };
    match troubles() {
        Ok(troubles) => troubles.into_iter().flatten().collect(),
        Err(error) => vec![error],
    }
}

/// The first steps of setup, if there is no file or no key is set. A file that cannot be read counts as configured: its
/// error is reported when it is used.
pub fn first_steps(file: &Path) -> Option<String> {
    let name = file.display();
    let made = if is_missing(file) {
        format!("`stream-agent --print-default-config > {name}`, then ")
    } else if read(file, None).is_ok_and(|loaded| loaded.is_blank()) {
        String::new()
    } else {
        return None;
    };
    Some(format!(
        "not configured yet: {made}set host_id, nats.servers and relay.allow in {name} (`man stream-agent.toml`), \
         then run: `stream-agent test-dial && systemctl enable --now stream-agent`"
    ))
}

/// Reads the file, and `config.d` and `targets.d` next to it, as they will be after a change.
///
/// # Errors
/// The first error, with its file and line. No value is checked.
pub fn read(file: &Path, change: Option<&Change>) -> Result<Loaded, ConfigError> {
    let fragments = [file.with_file_name("config.d"), file.with_file_name("targets.d")];
    Loaded::read_with(file, &fragments, &[&["target"]], change)
}

/// The targets alone. The other settings may be wrong, or missing.
///
/// # Errors
/// The first error, with its file and line.
pub fn targets(loaded: &Loaded) -> Result<Vec<Target>, ConfigError> {
    loaded.parse::<Raw>()?.targets(loaded)
}

impl Settings {
    /// Reads the files that the agent needs at start.
    ///
    /// # Errors
    /// The first error, and the key that names the file.
    pub fn check_files(&self, loaded: &Loaded) -> Result<(), ConfigError> {
        self.nats.check_files().map_err(|error| loaded.error_of_file(&["nats"], format!("{error:#}")))?;
        let trust = self.trust().map(drop);
        trust.map_err(|error| loaded.error_of_file(&["relay"], format!("{error:#}")))
    }

    /// The certificates that relays are checked with; none are read if all relays are `ws://`.
    ///
    /// # Errors
    /// If the certificates cannot be read.
    pub(crate) fn trust(&self) -> Result<Arc<rustls::ClientConfig>> {
        let is_tls = |url: &String| Address::parse(url).is_ok_and(|address| address.tls);
        match self.relays.iter().any(is_tls) || self.relay_ca.is_some() {
            true => tls::client_config(self.relay_ca.as_deref()).context("[relay]"),
            false => tls::trusting_none(),
        }
    }
}

impl Raw {
    fn check(&self, loaded: &Loaded) -> Result<Settings, ConfigError> {
        let wrong = |path: &[&str], why: &str| loaded.error_at(path, why);
        let prefix = self.subject_prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.into());
        let is_subject = |token: &str| {
            !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !prefix.split('.').all(is_subject) {
            return Err(wrong(
                &["subject_prefix"],
                &format!(
                    "\"{prefix}\" is no NATS subject: write words of A-Z a-z 0-9 _ - with dots between them"
                ),
            ));
        }
        let limits = &self.limits;
        limits.check(loaded)?;
        let targets = self.targets(loaded)?;
        let relay_ca = self.relay.ca_file(loaded)?;
        let nats = self.nats.check(loaded, &["nats"], self.auth.commands())?;
        Ok(Settings {
            inboxes: Inboxes::parse(self.inboxes.as_deref(), &prefix)
                .map_err(|why| wrong(&["inboxes"], &why))?,
            host: self.host(loaded)?,
            prefix,
            host_key: self.auth.host_key(&nats, loaded)?,
            nats,
            relays: self.relay.check(loaded)?,
            relay_ca,
            proxy: proxy::check(self.proxy.as_ref(), loaded)?,
            auth: self.auth.check(&self.relay, loaded)?,
            websocket: limits.websocket(),
            streams: limits.streams,
            unused: limits.unused.unwrap_or(limits.streams as usize),
            session: limits.session,
            drain_timeout: limits.drain_timeout,
            targets,
            spare: self.split.spare,
        })
    }

    fn targets(&self, loaded: &Loaded) -> Result<Vec<Target>, ConfigError> {
        let mut targets = Vec::new();
        for (name, raw) in self.tables(loaded)? {
            let checked = Target::from_value(&name, raw);
            targets.push(checked.map_err(|wrong| match &wrong.key {
                Some(key) => loaded.error_at(&["target", &name, key], wrong.message),
                None => loaded.error_at(&["target", &name], wrong.message),
            })?);
        }
        Ok(targets)
    }

    /// The targets as written, with the defaults that other sections set.
    fn tables(&self, loaded: &Loaded) -> Result<toml::Table, ConfigError> {
        let mut tables = match &self.target {
            None => toml::Table::new(),
            Some(toml::Value::Table(written)) => written.clone(),
            Some(_) => {
                return Err(loaded.error_at(
                    &["target"],
                    "a target needs a name: write [target.NAME], such as [target.shell]",
                ));
            }
        };
        let programs = tables.iter_mut().filter_map(|(_, table)| table.as_table_mut());
        for program in
            programs.filter(|table| table.get("kind").and_then(toml::Value::as_str) == Some("exec"))
        {
            program.entry("network").or_insert(self.split.network.into());
        }
        Ok(tables)
    }

    fn host(&self, loaded: &Loaded) -> Result<HostId, ConfigError> {
        if let Some(host) = &self.host_id {
            return Ok(host.clone());
        }
        let name =
            nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        name.replace('.', "_").parse().map_err(|error| {
            let why = format!("is needed, since the host name `{name}` is {error}");
            let error = loaded.error_at(&["host_id"], why);
            error.corrected_by(Some("the first lines"), "host_id = \"web1\"")
        })
    }
}

#[cfg(test)]
mod tests;
