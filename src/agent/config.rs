//! The agent's configuration: what is written ([`Raw`]) and what was checked ([`Settings`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nkeys::KeyPair;
use serde::Deserialize;

use crate::daemon::config::{ConfigError, Loaded};
use crate::daemon::loopback::is_loopback;
use crate::daemon::nats::{Commands, Nats, RawNats, key_pair};
use crate::daemon::secret::{Secret, resolve_path};
use crate::link::dial::Address;
use crate::link::leg::Limits;
use crate::link::proxy::Proxy;
use crate::protocol::command::DEFAULT_PREFIX;
use crate::protocol::grant::DEFAULT_LEEWAY;
use crate::protocol::host::HostId;
use crate::protocol::issuers::Issuers;

use super::inboxes::Inboxes;
use super::target::Target;

/// The shipped example, which is also `--print-default-config`.
pub const EXAMPLE: &str = include_str!("../../packaging/agent/config.toml");

/// What is written.
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
    limits: RawLimits,
    target: BTreeMap<String, toml::Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRelay {
    allow: Vec<String>,
    allow_plaintext: bool,
    ca_file: Option<String>,
    key_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProxy {
    url: String,
    user: Option<String>,
    password_file: Option<String>,
    #[serde(default)]
    no_proxy: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAuth {
    mode: Mode,
    issuers_dir: String,
    #[serde(with = "humantime_serde")]
    leeway: Duration,
    host_key_file: Option<String>,
}

impl Default for RawAuth {
    fn default() -> RawAuth {
        RawAuth {
            mode: Mode::Signed,
            issuers_dir: "/etc/stream-agent/issuers.d".into(),
            leeway: DEFAULT_LEEWAY,
            host_key_file: None,
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
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    streams: u32,
    unused: Option<usize>,
    #[serde(with = "humantime_serde")]
    session: Duration,
    #[serde(with = "humantime_serde")]
    ping_interval: Duration,
    #[serde(with = "humantime_serde")]
    write_stall: Duration,
    #[serde(with = "humantime_serde")]
    drain_timeout: Duration,
}

impl Default for RawLimits {
    fn default() -> RawLimits {
        let leg = Limits::default();
        RawLimits {
            streams: 64,
            unused: None,
            session: Duration::from_secs(12 * 3600),
            ping_interval: leg.ping_interval,
            write_stall: leg.write_stall,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// What was checked, and what an agent runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This host.
    pub host: HostId,
    /// What every subject begins with.
    pub prefix: String,
    /// Where answers may go.
    pub inboxes: Inboxes,
    /// The way to NATS.
    pub nats: Nats,
    /// Relays that may be dialled, without a slash at the end.
    pub relays: Vec<String>,
    /// Trust for relays besides the system's.
    pub relay_ca: Option<PathBuf>,
    /// The way out, if it is not direct.
    pub proxy: Option<Proxy>,
    /// How commands prove that they may be obeyed.
    pub auth: Auth,
    /// Proves to relays who dials.
    pub host_key: Option<HostKey>,
    /// Bounds of a websocket.
    pub leg: Limits,
    /// Streams at once, over all targets.
    pub streams: u32,
    /// Sessions at once whose URL nobody has used yet.
    pub unused: usize,
    /// Hard end of every session.
    pub session: Duration,
    /// How long open streams may go on when stopping.
    pub drain_timeout: Duration,
    /// What may be opened.
    pub targets: Vec<Target>,
}

/// How commands prove that they may be obeyed.
#[derive(Clone, Debug)]
pub enum Auth {
    /// By a signed grant.
    Signed {
        /// The platform's public keys.
        issuers: Issuers,
        /// How far clocks may be apart.
        leeway: Duration,
    },
    /// Not at all, beyond having reached our subjects (simple mode); the relay wants this key.
    Opaque(Secret),
}

/// The host's own key; `Debug` shows only its public half.
#[derive(Clone)]
pub struct HostKey(pub KeyPair);

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKey({})", self.0.public_key())
    }
}

/// Reads the configuration of an agent: the file, `config.d` and `targets.d` beside it. An agent that runs as root
/// starts no program that its owner has not given a user.
///
/// # Errors
/// What cannot be read or is not understood, with its file and line.
pub fn load(file: &Path, as_root: bool) -> Result<(Loaded, Settings), ConfigError> {
    let loaded = read(file)?;
    let settings = loaded.parse::<Raw>()?.check(&loaded)?;
    if as_root && let Some(target) = settings.targets.iter().find(|target| target.runs_as_agent()) {
        let why = "has no `user`, and the agent runs as root: write user = \"nobody\" or another, or user = \"root\" if \
                   every client may be root";
        return Err(loaded.error_at(&["target", &target.name], why));
    }
    Ok((loaded, settings))
}

/// Everything that is missing or wrong in the sections that every agent needs, to be mended in one go.
pub fn troubles(file: &Path) -> Vec<ConfigError> {
    let troubles = || {
        let loaded = read(file)?;
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

/// What to do first when nothing is configured at all; `None` when something is. Files that cannot be read are
/// something: what is wrong with them is said when they are used.
pub fn first_steps(file: &Path) -> Option<String> {
    read(file).is_ok_and(|loaded| loaded.is_blank()).then(|| {
        format!(
            "not configured yet: set host_id, nats.servers and relay.allow in {} (man stream-agent.toml), \
             then run: stream-agent test-dial && systemctl enable --now stream-agent",
            file.display()
        )
    })
}

fn read(file: &Path) -> Result<Loaded, ConfigError> {
    let fragments = [file.with_file_name("config.d"), file.with_file_name("targets.d")];
    Loaded::read(file, &fragments, &[&["target"]])
}

impl Raw {
    fn check(&self, loaded: &Loaded) -> Result<Settings, ConfigError> {
        let wrong = |path: &[&str], why: &str| loaded.error_at(path, why);
        let prefix = self.subject_prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.into());
        let is_subject = |token: &str| {
            !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !prefix.split('.').all(is_subject) {
            return Err(wrong(&["subject_prefix"], "is no NATS subject of A-Z a-z 0-9 _ - and dots"));
        }
        let limits = &self.limits;
        for (key, value) in [
            ("session", limits.session),
            ("ping_interval", limits.ping_interval),
            ("write_stall", limits.write_stall),
        ] {
            if value.is_zero() {
                return Err(wrong(&["limits", key], "must be longer than 0s"));
            }
        }
        if limits.streams == 0 {
            return Err(wrong(&["limits", "streams"], "must be at least 1"));
        }
        if limits.unused == Some(0) {
            return Err(wrong(&["limits", "unused"], "must be at least 1: no URL could be used then"));
        }
        let mut targets = Vec::new();
        for (name, raw) in &self.target {
            let checked = Target::from_table(name, raw.clone());
            targets.push(checked.map_err(|wrong| match &wrong.key {
                Some(key) => loaded.error_at(&["target", name, key], wrong.message),
                None => loaded.error_at(&["target", name], wrong.message),
            })?);
        }
        let relay_ca = match &self.relay.ca_file {
            None => None,
            Some(path) => {
                Some(resolve_path(path).map_err(|error| loaded.error_at(&["relay", "ca_file"], error))?)
            }
        };
        let nats = self.nats.check(loaded, &["nats"], self.auth.commands())?;
        Ok(Settings {
            inboxes: Inboxes::of(self.inboxes.as_deref(), &prefix)
                .map_err(|why| wrong(&["inboxes"], &why))?,
            host: self.host(loaded)?,
            prefix,
            host_key: self.host_key(&nats, loaded)?,
            nats,
            relays: self.relay.check(loaded)?,
            relay_ca,
            proxy: self.proxy(loaded)?,
            auth: self.auth.check(&self.relay, loaded)?,
            leg: Limits {
                ping_interval: limits.ping_interval,
                write_stall: limits.write_stall,
                ..Limits::default()
            },
            streams: limits.streams,
            unused: limits.unused.unwrap_or(limits.streams as usize),
            session: limits.session,
            drain_timeout: limits.drain_timeout,
            targets,
        })
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
            error.mended_by(Some("the first lines"), "host_id = \"web1\"")
        })
    }

    /// A key of its own: what NATS has us sign for a login must not prove anything to a relay.
    fn host_key(&self, nats: &Nats, loaded: &Loaded) -> Result<Option<HostKey>, ConfigError> {
        let Some(file) = &self.auth.host_key_file else { return Ok(None) };
        let wrong = |why: String| loaded.error_at(&["auth", "host_key_file"], why);
        let key = key_pair(file).map_err(|error| wrong(format!("{error:#}")))?;
        if nats.public_key() == Some(key.public_key()) {
            let why = "is also the key of the NATS login: make another (`nk -gen user`)";
            return Err(wrong(why.into()));
        }
        Ok(Some(HostKey(key)))
    }

    fn proxy(&self, loaded: &Loaded) -> Result<Option<Proxy>, ConfigError> {
        let Some(proxy) = &self.proxy else { return proxy_of_environment(loaded) };
        let at = |key: &str, error: String| loaded.error_at(&["proxy", key], error);
        let password = match &proxy.password_file {
            None => None,
            Some(file) => Some(Secret::read(file).map_err(|error| at("password_file", error.to_string()))?),
        };
        let credentials = match (&proxy.user, &password) {
            (Some(user), Some(password)) => Some((user.as_str(), password.expose())),
            (None, None) => None,
            _ => return Err(at("user", "user and password_file go together".into())),
        };
        let checked = Proxy::new(&proxy.url, credentials, &proxy.no_proxy);
        checked.map(Some).map_err(|error| at("url", format!("{error:#}")))
    }
}

/// As other programs read it; without a `[proxy]` section.
fn proxy_of_environment(loaded: &Loaded) -> Result<Option<Proxy>, ConfigError> {
    Proxy::of_environment().map_err(|error| loaded.error_at(&["proxy"], format!("{error:#}")))
}

impl RawRelay {
    fn check(&self, loaded: &Loaded) -> Result<Vec<String>, ConfigError> {
        let wrong = |why: String| loaded.error_at(&["relay", "allow"], why);
        if self.allow.is_empty() {
            let error = wrong(
                "is needed: the relays that may be dialled, such as [\"wss://relay.example.com\"]".into(),
            );
            return Err(error.mended_by(Some("[relay]"), "allow = [\"wss://relay.example.com\"]"));
        }
        for url in &self.allow {
            let address = Address::of_relay(url).map_err(|error| wrong(format!("{url}: {error}")))?;
            if !address.tls && !is_loopback(&address.host) && !self.allow_plaintext {
                return Err(wrong(format!(
                    "{url} is not encrypted: use wss://, or set relay.allow_plaintext = true if the way is safe"
                )));
            }
        }
        Ok(self.allow.iter().map(|url| url.trim_end_matches('/').to_owned()).collect())
    }
}

impl RawAuth {
    fn commands(&self) -> Commands {
        match self.mode {
            Mode::Signed => Commands::Signed,
            Mode::Opaque => Commands::Tokens,
        }
    }

    fn check(&self, relay: &RawRelay, loaded: &Loaded) -> Result<Auth, ConfigError> {
        match self.mode {
            Mode::Signed => {
                let at = ["auth", "issuers_dir"];
                let dir = resolve_path(&self.issuers_dir).map_err(|error| loaded.error_at(&at, error))?;
                let issuers = Issuers::read_dir(&dir).map_err(|error| {
                    let made = format!(
                        "mkdir -p {0} && cp KID.pub {0}/   # the platform's public key; or name its folder in \
                         [auth]: issuers_dir = \"/etc/stream-agent/issuers.d\"",
                        dir.display()
                    );
                    let error = loaded.error_at(&at, error);
                    if dir.exists() { error } else { error.mended_by(None, &made) }
                })?;
                if issuers.is_empty() {
                    let why =
                        format!("no <kid>.pub in {}: put the platform's public key there", dir.display());
                    let copy = format!("cp KID.pub {}/   # the platform's public key", dir.display());
                    return Err(loaded.error_at(&at, why).mended_by(None, &copy));
                }
                Ok(Auth::Signed { issuers, leeway: self.leeway })
            }
            Mode::Opaque => {
                let at = ["relay", "key_file"];
                let file = relay.key_file.as_ref();
                let file = file.ok_or_else(|| {
                    let error = loaded.error_at(&at, "is needed in simple mode: this host's relay key");
                    error.mended_by(Some("[relay]"), "key_file = \"/etc/stream-agent/relay.key\"")
                })?;
                Ok(Auth::Opaque(Secret::read(file).map_err(|error| loaded.error_at(&at, error))?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protocol::issuers::SigningKey;

    /// Loads `toml` from a folder with one issuer's key.
    fn loaded(toml: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let issuers = dir.path().join("issuers.d");
        std::fs::create_dir(&issuers).unwrap();
        let (key, _) = SigningKey::generate("k1").unwrap();
        std::fs::write(issuers.join("k1.pub"), key.public_pem()).unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, toml.replace("/etc/stream-agent", dir.path().to_str().unwrap())).unwrap();
        load(&file, false).map(|(_, settings)| settings).map_err(|error| error.to_string())
    }

    const LEAST: &str = "host_id = 'h1'\n[nats]\nservers = ['nats://127.0.0.1:4222']\n[relay]\n\
                         allow = ['wss://relay.example.com/']\n[auth]\nissuers_dir = '/etc/stream-agent/issuers.d'\n";

    #[test]
    fn the_least_that_is_needed_is_enough() {
        let settings = loaded(LEAST).unwrap();
        assert_eq!(settings.relays, ["wss://relay.example.com"]);
        assert!(settings.targets.is_empty());
    }

    /// The text with every key that is commented out in it.
    fn uncommented(text: &str) -> String {
        let line = |line: &str| {
            let key = line.strip_prefix('#').filter(|rest| {
                rest.starts_with('[') || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
            });
            format!("{}\n", key.unwrap_or(line))
        };
        text.lines().map(line).collect()
    }

    /// The files of `targets.d` as they are shipped, by their names.
    fn shipped_fragments() -> BTreeMap<String, String> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/agent/targets.d");
        let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
        files
            .map(|file| {
                let name = file.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(file.path()).unwrap())
            })
            .collect()
    }

    /// The tables of all examples in `targets.d`.
    fn examples() -> Vec<(String, toml::Table)> {
        let mut examples = vec![];
        for text in shipped_fragments().values() {
            assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
            let mut tables: toml::Table = toml::from_str(&uncommented(text)).unwrap();
            let toml::Value::Table(targets) = tables.remove("target").unwrap() else { panic!("{text}") };
            for (name, table) in targets {
                let toml::Value::Table(table) = table else { panic!("{name}") };
                examples.push((name, table));
            }
        }
        examples
    }

    /// The text that follows a heading of `docs/targets.md` that names this kind, up to the next.
    fn sections_of(kind: &str, document: &str) -> String {
        let named = format!("`{kind}`");
        let sections =
            document.split("\n## ").filter(|section| section.lines().next().unwrap().contains(&named));
        sections.collect()
    }

    fn targets_document() -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/targets.md")).unwrap()
    }

    #[test]
    fn every_key_of_every_kind_is_documented() {
        let document = targets_document();
        for (kind, keys) in Target::kinds() {
            let sections = sections_of(kind, &document);
            // As `params.NAME` and `raw = true`, too.
            let is_named = |key: &str| {
                ["`", ".", " ="].iter().any(|behind| sections.contains(&format!("`{key}{behind}")))
            };
            let lacking: Vec<_> = keys.iter().filter(|key| !is_named(key)).collect();
            assert!(lacking.is_empty(), "docs/targets.md lacks {lacking:?} of {kind}");
        }
    }

    #[test]
    fn what_kinds_are_by_default_is_documented() {
        let document = targets_document();
        let table =
            document.split_once("| kind | modes | streams at once | of one session | profile |\n").unwrap().1;
        let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
        let mut documented = BTreeMap::new();
        for row in rows {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.replace('`', "")).collect();
            let [kinds, facts @ ..] = &cells[..] else { panic!("{row}") };
            let facts = facts.iter().map(|fact| fact.trim().to_owned()).collect::<Vec<_>>();
            documented.extend(kinds.split(',').map(|kind| (kind.trim().to_owned(), facts.clone())));
        }
        let mut coded = BTreeMap::new();
        let with_either_display = |(name, table): (String, toml::Table)| {
            let displays: &[&str] = if table.contains_key("display") { &["spice", "vnc"] } else { &[""] };
            let tables = displays.iter().map(|display| match *display {
                "" => table.clone(),
                display => [table.clone(), toml::toml! { display = display }].into_iter().flatten().collect(),
            });
            tables.map(|table| (name.clone(), table)).collect::<Vec<_>>()
        };
        for (name, mut table) in examples().into_iter().flat_map(with_either_display) {
            ["modes", "max_streams", "session_streams", "profile"]
                .iter()
                .for_each(|key| drop(table.remove(*key)));
            let target = Target::from_table(&name, table.clone()).unwrap();
            let default = target.modes[0].to_string();
            let mut modes = vec![default.clone()];
            for mode in ["rw", "ro"].into_iter().filter(|mode| *mode != default) {
                table.insert("modes".into(), vec![mode].into());
                if Target::from_table(&name, table.clone()).is_ok() {
                    modes.push(mode.to_owned());
                }
            }
            let word = |key| table.get(key).and_then(toml::Value::as_str);
            let kind = match (target.kind_name(), word("action"), word("display")) {
                (kind, Some("logs"), _) => format!("{kind} for logs"),
                (kind, _, Some(display)) => format!("{kind} for {display}"),
                (kind, ..) => kind.to_owned(),
            };
            let profile = target.profile.label().to_owned();
            let streams = [target.max_streams, target.session_streams].map(|streams| streams.to_string());
            let [at_once, of_session] = streams;
            coded.insert(kind, vec![modes.join(", "), at_once, of_session, profile]);
        }
        assert_eq!(documented, coded);
    }

    #[test]
    fn the_shipped_examples_show_every_key_of_every_kind() {
        let mut shown = BTreeMap::<String, BTreeSet<String>>::new();
        for (name, table) in examples() {
            let target = Target::from_table(&name, table.clone());
            let kind = target.unwrap_or_else(|error| panic!("{name}: {error}")).kind_name();
            shown.entry(kind.to_owned()).or_default().extend(table.keys().cloned());
        }
        for (kind, keys) in Target::kinds() {
            let lacking: Vec<_> = keys.iter().filter(|key| !shown[kind].contains(**key)).collect();
            assert!(lacking.is_empty(), "{kind} lacks {lacking:?}");
        }
    }

    #[test]
    fn the_shipped_example_shows_every_key_with_its_default() {
        // Its three needs are examples; everything else in it is a default.
        let uncommented = uncommented(EXAMPLE);
        let only_one_login = |line: &&str| {
            ![
                "nkey_seed_file",
                "user",
                "password_file",
                "token_file",
                "key_file",
                "cert_file",
                "host_key_file",
                "ca_file",
            ]
            .iter()
            .any(|key| line.starts_with(&format!("{key} =")))
        };
        let text: String =
            uncommented.lines().filter(only_one_login).map(|line| format!("{line}\n")).collect();
        let settings = loaded(&text).unwrap();
        let least = loaded(LEAST).unwrap();
        assert_eq!(settings.targets.len(), 2);
        assert_eq!(format!("{:?}", settings.leg), format!("{:?}", least.leg));
        assert_eq!(settings.prefix, least.prefix);
        assert_eq!(
            (settings.streams, settings.unused, settings.session, settings.drain_timeout),
            (least.streams, least.unused, least.session, least.drain_timeout)
        );
        // And the keys that were left out above are known, too.
        let all: toml::Table = toml::from_str(&uncommented).unwrap();
        toml::Value::Table(all).try_into::<Raw>().unwrap();
    }

    #[test]
    fn all_shipped_examples_can_be_used_together() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("targets.d")).unwrap();
        for (name, text) in shipped_fragments() {
            std::fs::write(dir.path().join("targets.d").join(name), uncommented(&text)).unwrap();
        }
        let targets = uncommented(EXAMPLE);
        let targets = &targets[targets.find("[target.").unwrap()..];
        let (key, _) = SigningKey::generate("k1").unwrap();
        std::fs::write(dir.path().join("k1.pub"), key.public_pem()).unwrap();
        let least = LEAST.replace("/etc/stream-agent/issuers.d", dir.path().to_str().unwrap());
        let file = dir.path().join("config.toml");
        std::fs::write(&file, least + targets).unwrap();
        let (_, settings) = load(&file, false).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(settings.targets.len(), examples().len() + 2);
    }

    #[test]
    fn the_example_as_shipped_says_what_is_missing() {
        assert!(loaded(EXAMPLE).unwrap_err().contains("`nats.servers`: is needed"));
    }

    #[test]
    fn mistakes_name_the_file_the_line_and_the_remedy() {
        let cases = [
            ("[relay]\nalow = []", "did you mean `allow`"),
            ("[relay]\nallow = ['ws://relay.example.com']", "not encrypted"),
            ("[target.x]\nkind = 'tcp'\nadress = 'a:1'", "address"),
            ("[target.x]\nkind = 'file'\npath = 'x'", "not an absolute path"),
            ("[limits]\nstreams = 0", "at least 1"),
            ("[limits]\nunused = 0", "at least 1"),
            ("host_id = 'a.b'", "host id"),
        ];
        for (toml, expected) in cases {
            let nats = "[nats]\nservers = ['nats://127.0.0.1:4222']\n";
            let error = loaded(&format!("{toml}\n{nats}")).unwrap_err();
            assert!(error.contains(expected) && error.contains("config.toml:"), "{toml}: {error}");
        }
    }
}
