//! Reads the keys of a table `[target.NAME]`: the common ones and those of its kind.

use std::time::Duration;

use serde::de::value::{Error as PlainError, MapAccessDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::kind::{Connections, Settings};
use super::support::value::TargetConfigError;
use protocol::mode::Mode;
use protocol::profile::Profile;
use protocol::view::View;
use service::config::explain;

/// How long opening may take if the owner does not say.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The keys that every kind has, as the owner writes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Common {
    pub(super) kind: String,
    pub(super) title: Option<String>,
    pub(super) modes: Option<Vec<Mode>>,
    pub(super) max_streams: Option<u32>,
    pub(super) session_streams: Option<u32>,
    #[serde(default, with = "humantime_serde")]
    pub(super) open_timeout: Option<Duration>,
    pub(super) profile: Option<Profile>,
    pub(super) view: Option<View>,
}

/// What a kind allows in the common keys.
pub(super) struct Limits {
    /// The supported modes; the first is the default.
    pub(super) modes: &'static [Mode],
    pub(super) streams: u32,
    pub(super) most_streams: u32,
    pub(super) connections: Connections,
    pub(super) profile: Profile,
}

/// Reads a kind's own keys, after the common keys were taken out.
pub(super) fn read<S: Settings>(table: toml::Table) -> Result<(S, Limits), TargetConfigError> {
    let own = keys::<S::Raw>();
    if let Some(key) = table.keys().find(|key| !own.contains(&key.as_str())) {
        let all: Vec<_> = own.iter().chain(keys::<Common>()).copied().collect();
        return Err(TargetConfigError::at(key, unknown_key(key, &all, own)));
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

pub(super) fn check_modes(
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

pub(super) fn check_max_streams(
    streams: Option<u32>,
    limits: &Limits,
    kind: &str,
) -> Result<u32, TargetConfigError> {
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

pub(super) fn check_session_streams(
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

/// The word for what is not known is no word of the configuration.
pub(super) fn check_view(view: Option<View>) -> Result<Option<View>, TargetConfigError> {
    match view {
        Some(View::Unknown) => {
            Err(TargetConfigError::at("view", "is one of: terminal, log, vnc, spice".to_owned()))
        }
        view => Ok(view),
    }
}

pub(super) fn check_open_timeout(timeout: Option<Duration>) -> Result<Duration, TargetConfigError> {
    match timeout {
        Some(Duration::ZERO) => Err(TargetConfigError::at("open_timeout", "must be longer than nothing")),
        timeout => Ok(timeout.unwrap_or(OPEN_TIMEOUT)),
    }
}

/// Moves the named keys out of a table.
pub(super) fn take(table: &mut toml::Table, keys: &[&str]) -> toml::Table {
    keys.iter().filter_map(|key| table.remove_entry(*key)).collect()
}

pub(super) fn parse<T: DeserializeOwned>(table: toml::Table) -> Result<T, TargetConfigError> {
    let mut key = None;
    let entries = TrackedKeys { left: table.into_iter(), value: None, key: &mut key };
    T::deserialize(MapAccessDeserializer::new(entries)).map_err(|error| {
        let missing =
            if error.message().starts_with("missing field") { ", see `man stream-agent.toml`" } else { "" };
        // For a table inside the target's, only the outermost key is known.
        let known = key.as_deref().filter(|_| !error.message().contains("struct ")).unwrap_or_default();
        let message = explain(error.message(), known) + missing;
        TargetConfigError { key, message }
    })
}

/// The entries of a table. Remembers the last key, which is where an error occurred.
struct TrackedKeys<'a> {
    left: toml::map::IntoIter<String, toml::Value>,
    value: Option<toml::Value>,
    key: &'a mut Option<String>,
}

impl<'de> MapAccess<'de> for TrackedKeys<'_> {
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

/// An error for a key that is not in `known`: suggests a similar one, or lists those in `shown`.
fn unknown_key(written: &str, known: &[&str], shown: &[&str]) -> String {
    match nearest(written, known) {
        Some(nearest) => format!("unknown key, did you mean `{nearest}`?"),
        None => format!("unknown key, known are {}", shown.join(", ")),
    }
}

/// The most similar known word, if one is similar enough.
pub(super) fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    let written = written.to_ascii_lowercase();
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&written, known), *known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, nearest)| nearest)
}

/// The names of a struct's fields, from its `Deserialize`, so that no second list of them can become outdated.
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
    // The deserializer has no value and therefore always fails.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}
