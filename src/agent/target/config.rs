//! From the table `[target.NAME]` to a checked [`Target`]; every complaint names its key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::value::{Error as PlainError, MapAccessDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::Target;
use super::all::Kind;
use super::kind::{Connections, Settings};
use crate::daemon::config::instead;
use crate::protocol::mode::Mode;
use crate::protocol::profile::Profile;

/// Characters of a target's name at most: it is a word in grants, logs and listings.
const MAX_NAME: usize = 64;

/// How long opening may take where the owner does not say.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What is wrong with a target's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfigError {
    /// The key inside the target's table, for whoever knows file and line of it; `None` where the
    /// target as a whole is wrong or a key is missing.
    pub key: Option<String>,
    /// What is wrong and what would be right; does not repeat the target's name.
    pub message: String,
}

impl TargetConfigError {
    /// The value of `key` is wrong.
    pub(super) fn at(key: impl Into<String>, message: impl Into<String>) -> TargetConfigError {
        TargetConfigError { key: Some(key.into()), message: message.into() }
    }

    fn whole(message: impl Into<String>) -> TargetConfigError {
        TargetConfigError { key: None, message: message.into() }
    }
}

impl fmt::Display for TargetConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for TargetConfigError {}

/// The keys that every kind has, as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    kind: String,
    title: Option<String>,
    modes: Option<Vec<Mode>>,
    max_streams: Option<u32>,
    session_streams: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    open_timeout: Option<Duration>,
    profile: Option<Profile>,
}

/// What a kind allows for the common keys.
pub(super) struct Limits {
    /// What can be granted; the first is the default.
    modes: &'static [Mode],
    streams: u32,
    most_streams: u32,
    connections: Connections,
    profile: Profile,
}

impl Target {
    /// Reads and checks `[target.NAME]`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn from_table(name: &str, mut table: toml::Table) -> Result<Target, TargetConfigError> {
        check_name(name)?;
        if !table.contains_key("kind") {
            let message = format!("missing key `kind`, which is one of: {}", Kind::NAMES.join(", "));
            return Err(TargetConfigError::whole(message));
        }
        let common: Common = parse(take(&mut table, keys::<Common>()))?;
        let (kind, limits) = Kind::from_table(&common.kind, table).ok_or_else(|| {
            let known = Kind::NAMES;
            TargetConfigError::at("kind", unknown("kind", &common.kind, known, known))
        })??;
        let max_streams = check_max_streams(common.max_streams, &limits, kind.name())?;
        let session_streams = check_session_streams(&common, &limits, max_streams)?;
        Ok(Target {
            name: name.to_owned(),
            title: common.title,
            modes: check_modes(common.modes, &limits, kind.name())?,
            max_streams,
            session_streams,
            same_address: limits.connections != Connections::One,
            open_timeout: check_open_timeout(common.open_timeout)?,
            profile: common.profile.unwrap_or(limits.profile),
            kind,
        })
    }
}

/// A kind's own keys: those that are left when the common ones are taken out.
pub(super) fn read<S: Settings>(table: toml::Table) -> Result<(S, Limits), TargetConfigError> {
    let own = keys::<S::Raw>();
    if let Some(key) = table.keys().find(|key| !own.contains(&key.as_str())) {
        let all: Vec<_> = own.iter().chain(keys::<Common>()).copied().collect();
        return Err(TargetConfigError::at(key, unknown("key", key, &all, own)));
    }
    let settings = S::check(parse(table)?)?;
    let limits = Limits {
        modes: settings.modes(),
        streams: S::MAX_STREAMS,
        most_streams: S::MOST_STREAMS,
        connections: settings.connections(),
        profile: settings.profile(),
    };
    Ok((settings, limits))
}

/// The path under `key`, which must be absolute: the agent's working directory is nobody's choice.
pub(super) fn absolute(key: &str, path: PathBuf) -> Result<PathBuf, TargetConfigError> {
    if !path.is_absolute() {
        let message = format!("\"{}\" is not an absolute path", path.display());
        return Err(TargetConfigError::at(key, message));
    }
    without_nul(key, path.as_os_str().as_encoded_bytes())?;
    Ok(path)
}

/// An absolute path that names a file: it has a directory and a last part.
pub(super) fn absolute_file(key: &str, path: PathBuf) -> Result<PathBuf, TargetConfigError> {
    let path = absolute(key, path)?;
    if path.file_name().is_none() || ends_with_slash(&path) {
        let message = format!("\"{}\" does not name a file", path.display());
        return Err(TargetConfigError::at(key, message));
    }
    Ok(path)
}

/// Refuses what would be cut off where the system wants C strings.
pub(super) fn without_nul(key: &str, text: &[u8]) -> Result<(), TargetConfigError> {
    match text.contains(&0) {
        true => Err(TargetConfigError::at(key, "has a NUL character in it")),
        false => Ok(()),
    }
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn check_name(name: &str) -> Result<(), TargetConfigError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let all = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !first || !all || name.len() > MAX_NAME {
        return Err(TargetConfigError::whole(format!(
            "\"{name}\" cannot name a target: 1 to {MAX_NAME} letters, digits, dots, dashes and \
             underscores, the first a letter or a digit"
        )));
    }
    Ok(())
}

fn check_modes(
    modes: Option<Vec<Mode>>,
    limits: &Limits,
    kind: &str,
) -> Result<Vec<Mode>, TargetConfigError> {
    let Some(modes) = modes else { return Ok(limits.modes[..1].to_vec()) };
    let wrong = |message: String| Err(TargetConfigError::at("modes", message));
    if modes.is_empty() {
        return wrong("is empty: a target that nobody may open can be left out".to_owned());
    }
    for (at, mode) in modes.iter().enumerate() {
        if !limits.modes.contains(mode) {
            return wrong(format!("kind {kind} cannot be opened \"{mode}\""));
        }
        if modes[..at].contains(mode) {
            return wrong(format!("names \"{mode}\" twice"));
        }
    }
    Ok(modes)
}

fn check_max_streams(streams: Option<u32>, limits: &Limits, kind: &str) -> Result<u32, TargetConfigError> {
    let Some(streams) = streams else { return Ok(limits.streams) };
    match limits.most_streams {
        most if (1..=most).contains(&streams) => Ok(streams),
        1 => Err(TargetConfigError::at(
            "max_streams",
            format!("must be 1 for kind {kind}: two readers would each get a part of the bytes"),
        )),
        most => Err(TargetConfigError::at("max_streams", format!("must be from 1 to {most}"))),
    }
}

fn check_session_streams(
    common: &Common,
    limits: &Limits,
    max_streams: u32,
) -> Result<u32, TargetConfigError> {
    match (common.session_streams, limits.connections) {
        (Some(streams), _) if (1..=max_streams).contains(&streams) => Ok(streams),
        (Some(_), _) => Err(TargetConfigError::at(
            "session_streams",
            format!("must be from 1 to {max_streams}, the target's max_streams"),
        )),
        (None, Connections::One) => Ok(1),
        (None, Connections::Several) => Ok(max_streams),
        (None, Connections::Unknown) => Ok(common.max_streams.unwrap_or(1)),
    }
}

fn check_open_timeout(timeout: Option<Duration>) -> Result<Duration, TargetConfigError> {
    match timeout {
        Some(Duration::ZERO) => Err(TargetConfigError::at("open_timeout", "must be longer than nothing")),
        timeout => Ok(timeout.unwrap_or(OPEN_TIMEOUT)),
    }
}

/// Takes the named keys out of a table.
fn take(table: &mut toml::Table, keys: &[&str]) -> toml::Table {
    keys.iter().filter_map(|key| table.remove_entry(*key)).collect()
}

fn parse<T: DeserializeOwned>(table: toml::Table) -> Result<T, TargetConfigError> {
    let mut key = None;
    let entries = Entries { left: table.into_iter(), value: None, key: &mut key };
    T::deserialize(MapAccessDeserializer::new(entries)).map_err(|error| TargetConfigError {
        key,
        message: format!("{}{}", error.message(), instead(error.message())),
    })
}

/// The entries of a table, which tell the key of the one that was read last: where reading failed.
struct Entries<'a> {
    left: toml::map::IntoIter<String, toml::Value>,
    value: Option<toml::Value>,
    key: &'a mut Option<String>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = toml::de::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let entry = self.left.next();
        *self.key = entry.as_ref().map(|(key, _)| key.clone());
        let Some((key, value)) = entry else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let value =
            self.value.take().ok_or_else(|| Self::Error::custom("a value was asked for before its key"))?;
        seed.deserialize(value)
    }
}

/// `written` is none of `known`: the likely one, or all that there are.
fn unknown(what: &str, written: &str, known: &[&str], shown: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(written, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min();
    match nearest {
        Some((_, nearest)) => format!("unknown {what}, did you mean `{nearest}`?"),
        None => format!("unknown {what}, known are {}", shown.join(", ")),
    }
}

/// The names of a struct's fields as its `Deserialize` knows them, so that no second list of them
/// can go stale.
pub(super) fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Fields<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = PlainError;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, PlainError> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, PlainError> {
            Err(serde::de::Error::custom("asked for its fields only"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // The error is the only way out of a deserializer that has no value to give.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, TargetConfigError> {
        Target::from_table("vm1", text.parse().unwrap())
    }

    fn complaint(text: &str) -> (String, String) {
        let error = target(text).unwrap_err();
        (error.key.clone().unwrap_or_default(), error.message)
    }

    #[test]
    fn defaults_depend_on_the_kind() {
        let tcp = target("kind = 'tcp'\naddress = '127.0.0.1:5901'").unwrap();
        assert_eq!((tcp.kind_name(), tcp.title.as_deref(), tcp.max_streams), ("tcp", None, 8));
        assert_eq!((&*tcp.modes, tcp.open_timeout), (&[Mode::Rw][..], Duration::from_secs(10)));
        let file = target("kind = 'file'\npath = '/var/log/syslog'").unwrap();
        assert_eq!((file.max_streams, &*file.modes), (16, &[Mode::Ro][..]));
        let fifo = target("kind = 'fifo'\npath = '/run/x'").unwrap();
        assert_eq!((fifo.max_streams, &*fifo.modes), (1, &[Mode::Ro][..]));
        let exec = target("kind = 'exec'\nargv = ['/bin/login']\npty = true").unwrap();
        assert_eq!((exec.max_streams, &*exec.modes), (4, &[Mode::Rw][..]));
        let exec = target("kind = 'exec'\nargv = ['/bin/df']").unwrap();
        assert_eq!((exec.kind_name(), &*exec.modes), ("exec", &[Mode::Rw][..]));
    }

    #[test]
    fn a_session_has_one_stream_unless_the_protocol_or_the_owner_wants_more() {
        let qmp = "kind = 'qmp'\npath = '/run/a'\n";
        for (text, streams, same_address) in [
            ("kind = 'exec'\nargv = ['/bin/sh']\npty = true\nmax_streams = 4", 1, false),
            ("kind = 'exec'\nargv = ['/bin/sh']\nsession_streams = 2", 2, false),
            ("kind = 'serial'\npath = '/dev/ttyS0'", 1, false),
            ("kind = 'file'\npath = '/a'\nmax_streams = 100", 1, false),
            ("kind = 'tcp'\naddress = '127.0.0.1:22'", 1, true),
            ("kind = 'unix'\npath = '/run/a'\nmax_streams = 8", 8, true),
            ("kind = 'tcp'\naddress = '127.0.0.1:22'\nmax_streams = 50\nsession_streams = 1", 1, true),
            (&format!("{qmp}display = 'spice'"), 8, true),
            (&format!("{qmp}display = 'vnc'\nmax_streams = 20"), 1, false),
            ("kind = 'libvirt'\ndomains = ['a']", 8, true),
            ("kind = 'libvirt'\ndomains = ['a']\ndisplay = 'vnc'", 1, false),
        ] {
            let target = target(text).unwrap();
            assert_eq!((target.session_streams, target.same_address), (streams, same_address), "{text}");
        }
    }

    #[test]
    fn what_the_owner_writes_is_taken() {
        let text = "kind = 'unix'\npath = '/run/a'\ntitle = 'Screen'\nmodes = ['ro', 'rw']\n\
                    max_streams = 2\nopen_timeout = '1s 500ms'";
        let unix = target(text).unwrap();
        assert_eq!((unix.title.as_deref(), unix.max_streams), (Some("Screen"), 2));
        assert_eq!(unix.open_timeout, Duration::from_millis(1500));
        assert_eq!(unix.modes, [Mode::Ro, Mode::Rw]);
        assert_eq!(unix, target(text).unwrap());
        assert_ne!(unix, target(&text.replace("/run/a", "/run/b")).unwrap());
        assert_eq!(
            serde_json::to_string(&unix.info()).unwrap(),
            r#"{"name":"vm1","kind":"unix","title":"Screen","modes":["ro","rw"]}"#
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest() {
        let (key, message) = complaint("kind = 'tcp'\nadress = '127.0.0.1:1'");
        assert_eq!((key.as_str(), message.as_str()), ("adress", "unknown key, did you mean `address`?"));
        let (key, message) = complaint("kind = 'tcp'\nmax_stream = 1");
        assert_eq!(key, "max_stream");
        assert!(message.contains("`max_streams`"), "{message}");
        let (key, message) = complaint("kind = 'file'\npath = '/a'\ncolour = 1");
        assert_eq!(key, "colour");
        assert_eq!(message, "unknown key, known are path, paths, lines, history, follow_symlinks, raw");
        let (key, message) = complaint("kind = 'tpc'");
        assert_eq!((key.as_str(), message.as_str()), ("kind", "unknown kind, did you mean `tcp`?"));
    }

    #[test]
    fn a_wrong_or_missing_value_is_told_with_its_key() {
        let cases = [
            ("kind = 'tcp'\naddress = 5", "address", "integer"),
            ("kind = 'tcp'", "", "missing field `address`"),
            ("path = '/x'", "", "missing key `kind`, which is one of: "),
            ("kind = 'file'\npaths = '/x'", "paths", "write [\"/x\"]"),
            ("kind = 'file'\npath = '/x'\nopen_timeout = 5", "open_timeout", "such as \"10s\""),
            ("kind = 'file'\npath = 'x'", "path", "absolute"),
            ("kind = 'file'\npath = '/x/'", "path", "name a file"),
            ("kind = 'file'\npath = '/x'\nmodes = ['rw']", "modes", "kind file cannot"),
            ("kind = 'unix'\npath = '/x'\nmodes = []", "modes", "empty"),
            ("kind = 'unix'\npath = '/x'\nmodes = ['ro', 'ro']", "modes", "twice"),
            ("kind = 'unix'\npath = '/x'\nmodes = ['rwx']", "modes", "unknown variant"),
            ("kind = 'unix'\npath = '/x'\nmax_streams = 0", "max_streams", "from 1"),
            ("kind = 'fifo'\npath = '/x'\nmax_streams = 2", "max_streams", "must be 1"),
            ("kind = 'unix'\npath = '/x'\nsession_streams = 9", "session_streams", "from 1 to 8"),
            ("kind = 'unix'\npath = '/x'\nsession_streams = 0", "session_streams", "from 1"),
            ("kind = 'unix'\npath = '/x'\nopen_timeout = '0s'", "open_timeout", "longer"),
            ("kind = 'unix'\npath = '/x'\nopen_timeout = 'soon'", "open_timeout", "expected"),
            ("kind = 'exec'\nargv = []", "argv", "empty"),
            ("kind = 'exec'\nargv = ['df']", "argv", "absolute"),
            ("kind = 'exec'\nargv = ['/bin/df']\nenv = { 'A=B' = '1' }", "env", "A=B"),
        ];
        for (text, key, words) in cases {
            let (found, message) = complaint(text);
            assert_eq!(found, key, "{text}: {message}");
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn a_name_is_a_plain_word() {
        let table: toml::Table = "kind = 'unix'\npath = '/x'".parse().unwrap();
        for name in ["a", "7", "vm-1.screen_0", &"x".repeat(64)] {
            assert_eq!(Target::from_table(name, table.clone()).unwrap().name, name);
        }
        for name in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(Target::from_table(name, table.clone()).is_err(), "{name}");
        }
    }
}
