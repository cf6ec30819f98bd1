//! Local targets: what a host owner allows to be opened, and how each kind is opened.
//!
//! This folder is the one place where a kind is added: a file here, and its lines in [`RawKind`] and
//! [`Kind`]. An opened target is bytes out, bytes in and perhaps a process; nothing here knows the relay.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::protocol::command::TargetInfo;
use crate::protocol::end::End;
use crate::protocol::mode::Mode;

mod access;
mod exec;
mod fifo;
mod file;
mod pty;
mod rotation;
mod tcp;
mod unix;

/// What a target says.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// What a target is told.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// The exit status of a process, as a shell says it, once it is known.
pub type Exit = Pin<Box<dyn Future<Output = i32> + Send>>;

/// One opened target. Dropping it closes the target, and ends its processes.
pub struct Opened {
    /// Bytes that the target says; end of file ends the stream, or this half of it.
    pub output: Output,
    /// Where the client's bytes go; `None` for what is read-only.
    pub input: Option<Input>,
    /// Takes the client's window size; set for terminals.
    pub resize: Option<Box<dyn Fn(Window) + Send + Sync>>,
    /// Set where a process stands behind the target; dropping it ends the process.
    pub exit: Option<Exit>,
    /// Whether the target can go on listening after its own end of file, as sockets can.
    pub half_close: bool,
}

impl Opened {
    /// A target that only says something.
    fn read_only(output: Output) -> Opened {
        Opened { output, input: None, resize: None, exit: None, half_close: false }
    }
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl Default for Window {
    fn default() -> Window {
        Window { cols: 80, rows: 24 }
    }
}

/// Why a target could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// [`End::TargetFailed`] or [`End::TargetTimeout`].
    pub end: End,
    /// For the owner: what failed, on what, and what would mend it. Not for clients: it names addresses.
    pub message: String,
}

impl OpenError {
    fn failed(message: impl Into<String>) -> OpenError {
        OpenError { end: End::TargetFailed, message: message.into() }
    }
}

/// A target of the allowlist.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    name: String,
    title: Option<String>,
    modes: Vec<Mode>,
    max_streams: u32,
    open_timeout: Duration,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Tcp(tcp::Tcp),
    Unix(unix::Unix),
    Fifo(fifo::Fifo),
    File(file::File),
    Exec(exec::Exec),
}

impl Target {
    /// The name that travels.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Allowed modes, the default first.
    pub fn modes(&self) -> &[Mode] {
        &self.modes
    }

    /// Streams that may be open at once.
    pub fn max_streams(&self) -> u32 {
        self.max_streams
    }

    /// `tcp`, `unix`, …
    pub fn kind(&self) -> &'static str {
        match &self.kind {
            Kind::Tcp(_) => "tcp",
            Kind::Unix(_) => "unix",
            Kind::Fifo(_) => "fifo",
            Kind::File(_) => "file",
            Kind::Exec(_) => "exec",
        }
    }

    /// The target as the platform may see it: no addresses, no paths.
    pub fn info(&self) -> TargetInfo {
        TargetInfo {
            name: self.name.clone(),
            kind: self.kind().to_owned(),
            title: self.title.clone(),
            modes: self.modes.clone(),
        }
    }

    /// Opens it. With [`Mode::Ro`] nothing can be written to it.
    ///
    /// # Errors
    /// What failed, or that it took longer than `open_timeout`.
    pub(in crate::agent) async fn open(&self, mode: Mode) -> Result<Opened, OpenError> {
        let open = async {
            match &self.kind {
                Kind::Tcp(tcp) => tcp.open(mode).await,
                Kind::Unix(unix) => unix.open(mode).await,
                Kind::Fifo(fifo) => fifo.open(),
                Kind::File(file) => file.open(),
                Kind::Exec(exec) => exec.open(mode),
            }
        };
        match tokio::time::timeout(self.open_timeout, open).await {
            Ok(opened) => opened,
            Err(_) => Err(OpenError {
                end: End::TargetTimeout,
                message: format!("target {} did not open within {:?}", self.name, self.open_timeout),
            }),
        }
    }

    /// Whether it could be opened now, found out without doing anything that a target would notice much:
    /// sockets are connected and closed, files are opened, programs are looked at but never run.
    ///
    /// # Errors
    /// What would fail.
    pub async fn probe(&self) -> Result<String, OpenError> {
        match &self.kind {
            Kind::Exec(exec) => exec.probe(),
            Kind::Fifo(fifo) => fifo.probe(),
            Kind::File(file) => file.probe(),
            Kind::Tcp(_) | Kind::Unix(_) => self.open(Mode::Rw).await.map(|_| "connected and closed".into()),
        }
    }
}

/// A target as it is written: common keys, and those of its kind.
#[derive(Debug)]
pub struct RawTarget {
    common: RawCommon,
    kind: RawKind,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCommon {
    kind: String,
    title: Option<String>,
    modes: Option<Vec<Mode>>,
    max_streams: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    open_timeout: Option<Duration>,
}

/// Keys that every kind has.
const COMMON: [&str; 5] = ["kind", "title", "modes", "max_streams", "open_timeout"];

/// The names of the kinds, for error messages.
const KINDS: &str = "tcp, unix, fifo, file, exec";

#[derive(Debug)]
enum RawKind {
    Tcp(tcp::Raw),
    Unix(unix::Raw),
    Fifo(fifo::Raw),
    File(file::Raw),
    Exec(exec::Raw),
}

impl<'de> Deserialize<'de> for RawTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawTarget, D::Error> {
        let (common, own): (toml::Table, toml::Table) = toml::Table::deserialize(deserializer)?
            .into_iter()
            .partition(|(key, _)| COMMON.contains(&key.as_str()));
        if !common.contains_key("kind") {
            return Err(D::Error::custom(format!("a target needs a kind: one of {KINDS}")));
        }
        let common: RawCommon = part(common)?;
        let kind = match common.kind.as_str() {
            "tcp" => RawKind::Tcp(part(own)?),
            "unix" => RawKind::Unix(part(own)?),
            "fifo" => RawKind::Fifo(part(own)?),
            "file" => RawKind::File(part(own)?),
            "exec" => RawKind::Exec(part(own)?),
            other => return Err(D::Error::custom(format!("no kind `{other}`: expected one of {KINDS}"))),
        };
        Ok(RawTarget { common, kind })
    }
}

fn part<T: DeserializeOwned, E: serde::de::Error>(table: toml::Table) -> Result<T, E> {
    table.try_into().map_err(|error: toml::de::Error| E::custom(error.message()))
}

/// A value that cannot be used, and the key that it stands under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The key in the target's table.
    pub key: &'static str,
    /// What is wrong with its value.
    pub message: String,
}

fn wrong<T>(key: &'static str, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { key, message: message.into() })
}

impl RawTarget {
    /// Checks what is written.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self, name: &str) -> Result<Target, Wrong> {
        if !is_target_name(name) {
            return wrong(
                "kind",
                "a target's name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit",
            );
        }
        // The default for streams at once: what people open, and not what a host can take.
        let (kind, default_modes, default_streams): (Kind, &[Mode], u32) = match &self.kind {
            // QEMU's SPICE opens eight connections (main and seven channels).
            RawKind::Tcp(raw) => (Kind::Tcp(raw.check()?), &[Mode::Rw], 8),
            RawKind::Unix(raw) => (Kind::Unix(raw.check()?), &[Mode::Rw], 8),
            // Two readers of one FIFO would each get half of the lines.
            RawKind::Fifo(raw) => (Kind::Fifo(raw.check()?), &[Mode::Ro], 1),
            RawKind::File(raw) => (Kind::File(raw.check()?), &[Mode::Ro], 16),
            RawKind::Exec(raw) => (Kind::Exec(raw.check()?), &[Mode::Rw], 4),
        };
        let modes = self.common.modes.clone().unwrap_or_else(|| default_modes.to_vec());
        if modes.is_empty() {
            return wrong("modes", "no mode: leave it out, or write \"ro\", \"rw\" or both");
        }
        let is_log = matches!(kind, Kind::Fifo(_) | Kind::File(_));
        if is_log && modes != [Mode::Ro] {
            return wrong("modes", "logs are read-only: write [\"ro\"] or leave it out");
        }
        let max_streams = self.common.max_streams.unwrap_or(default_streams);
        if max_streams == 0 {
            return wrong("max_streams", "must be at least 1; to close a target, remove it");
        }
        if matches!(kind, Kind::Fifo(_)) && max_streams != 1 {
            return wrong("max_streams", "a FIFO has one reader: two would each get half of the bytes");
        }
        Ok(Target {
            name: name.to_owned(),
            title: self.common.title.clone(),
            modes,
            max_streams,
            open_timeout: self.common.open_timeout.unwrap_or(Duration::from_secs(10)),
            kind,
        })
    }
}

fn is_target_name(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    name.len() <= 64
        && name.bytes().all(inside)
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// An absolute path without `..`, so that what is written is what is opened.
fn absolute(key: &'static str, path: &str) -> Result<std::path::PathBuf, Wrong> {
    let path = std::path::PathBuf::from(path);
    let has_parent = path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute() || has_parent {
        return wrong(key, format!("{} is not an absolute path without ..", path.display()));
    }
    Ok(path)
}

#[cfg(test)]
pub(in crate::agent) mod tests {
    use super::*;

    /// A target from the TOML of its table.
    pub fn target(toml: &str) -> Target {
        target_named("t", toml)
    }

    pub fn target_named(name: &str, toml: &str) -> Target {
        toml::from_str::<RawTarget>(toml).unwrap().check(name).unwrap()
    }

    fn refused(toml: &str) -> String {
        match toml::from_str::<RawTarget>(toml) {
            Err(error) => error.message().to_owned(),
            Ok(raw) => raw.check("t").unwrap_err().message,
        }
    }

    #[test]
    fn what_is_wrong_with_a_target_is_said() {
        let cases = [
            ("", "needs a kind"),
            ("kind = 'tpc'", "no kind `tpc`"),
            ("kind = 'tcp'", "missing field `address`"),
            ("kind = 'tcp'\naddress = '127.0.0.1:1'\nadress = 1", "unknown field `adress`"),
            ("kind = 'tcp'\naddress = 'nonsense'", "is not host:port"),
            ("kind = 'unix'\npath = 'relative'", "not an absolute path"),
            ("kind = 'file'\npath = '/a/../b'", "without .."),
            ("kind = 'file'\npath = '/a'\nmodes = ['rw']", "read-only"),
            ("kind = 'fifo'\npath = '/a'\nmax_streams = 2", "one reader"),
            ("kind = 'exec'\nargv = []", "no program"),
            ("kind = 'exec'\nargv = ['sh']", "not an absolute path"),
            ("kind = 'tcp'\naddress = '127.0.0.1:1'\nmodes = []", "no mode"),
            ("kind = 'tcp'\naddress = '127.0.0.1:1'\nmax_streams = 0", "at least 1"),
        ];
        for (toml, expected) in cases {
            let message = refused(toml);
            assert!(message.contains(expected), "{toml}: {message}");
        }
        let tcp = toml::from_str::<RawTarget>("kind = 'tcp'\naddress = '127.0.0.1:1'").unwrap();
        for name in ["", "-a", "a b", "a/b", &"a".repeat(65)] {
            assert!(tcp.check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_the_platform_sees_has_no_addresses() {
        let target = target("kind = 'tcp'\naddress = '127.0.0.1:5900'\ntitle = 'Screen'");
        let json = serde_json::to_string(&target.info()).unwrap();
        assert_eq!(json, r#"{"name":"t","kind":"tcp","title":"Screen","modes":["rw"]}"#);
    }
}
