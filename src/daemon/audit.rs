//! Who opened what, when, and how it ended: one record per event of a stream, as a log line with
//! fields and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::format_rfc3339_millis;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::protocol::end::{End, Level};
use crate::protocol::host::HostId;
use crate::protocol::mode::Mode;
use crate::protocol::name::shown;

/// The log target of records; filters can name it.
pub const TARGET: &str = "audit";

/// Version of the JSON form, as `"v"`. Fields may be added without a new version.
const VERSION: u8 = 1;

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The target was opened for a client.
    Started,
    /// A started stream ended.
    Ended,
    /// A stream was asked for and did not come about.
    Refused,
}

impl Event {
    /// The word in records, and the last token of the NATS event subject.
    pub const fn label(self) -> &'static str {
        match self {
            Event::Started => "started",
            Event::Ended => "ended",
            Event::Refused => "refused",
        }
    }
}

/// One event of one stream. What is not known is left out of the log line and of the JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What happened.
    pub event: Event,
    /// When.
    pub at: SystemTime,
    /// The session's ULID.
    pub session: Option<String>,
    /// Number of the stream in its session, from 1.
    pub stream: Option<u32>,
    /// Where the target is.
    pub host: Option<HostId>,
    /// Name of the target; never its address.
    pub target: Option<String>,
    /// What the grant filled into the target; only values that the target's rules let pass.
    pub params: BTreeMap<String, String>,
    /// The user that the grant names. Names come from outside: records have them as [`shown`], so that none of
    /// them looks like another, or like a line of ours.
    pub user: Option<String>,
    /// Address of the client, as the relay sees it.
    pub peer: Option<String>,
    /// Fingerprint of the token's hash; never the token.
    pub token: Option<String>,
    /// Whether the client could write.
    pub mode: Option<Mode>,
    /// Payload bytes from the client to the target.
    pub bytes_in: Option<u64>,
    /// Payload bytes from the target to the client.
    pub bytes_out: Option<u64>,
    /// How long the stream lived.
    pub lasted: Option<Duration>,
    /// Why it ended or was refused: gives `end` (the label), `code` and the level of the log line.
    pub end: Option<End>,
    /// The words for it; they may say more here than to the peer.
    pub reason: Option<String>,
}

impl Record {
    /// A record of now that knows nothing else: fill it with `..Record::new(event)`.
    pub fn new(event: Event) -> Record {
        Record {
            event,
            at: SystemTime::now(),
            session: None,
            stream: None,
            host: None,
            target: None,
            params: BTreeMap::new(),
            user: None,
            peer: None,
            token: None,
            mode: None,
            bytes_in: None,
            bytes_out: None,
            lasted: None,
            end: None,
            reason: None,
        }
    }

    /// Logs the record: exactly one event with target [`TARGET`].
    pub fn log(&self) {
        // The level of an event is part of its call site, so there is a call site for each.
        macro_rules! event {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    event = self.event.label(),
                    session = self.session.as_deref(),
                    stream = self.stream,
                    host = self.host.as_ref().map(HostId::as_str),
                    target = self.target.as_deref().map(shown).as_deref(),
                    params = self.params_in_words(),
                    user = self.user.as_deref().map(shown).as_deref(),
                    peer = self.peer.as_deref(),
                    token = self.token.as_deref(),
                    mode = self.mode.map(tracing::field::display),
                    bytes_in = self.bytes_in,
                    bytes_out = self.bytes_out,
                    seconds = self.seconds(),
                    end = self.end.map(End::label),
                    code = self.end.map(End::code),
                    reason = self.reason.as_deref(),
                    "{self}"
                )
            };
        }
        match self.end.map_or(Level::Info, End::level) {
            Level::Info => event!(tracing::Level::INFO),
            Level::Warn => event!(tracing::Level::WARN),
        }
    }

    /// As they are written on a command line. An owner's pattern may allow spaces and commas: a value with them is
    /// quoted, so that it cannot look like another parameter or field.
    fn params_in_words(&self) -> Option<String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@:+-/".contains(&byte);
        let in_words =
            |(name, value): (&String, &String)| match !value.is_empty() && value.bytes().all(is_plain) {
                true => format!("{name}={value}"),
                false => format!("{name}={value:?}"),
            };
        let params: Vec<_> = self.params.iter().map(in_words).collect();
        (!params.is_empty()).then(|| params.join(" "))
    }

    /// To the millisecond: more digits would only be noise.
    fn seconds(&self) -> Option<f64> {
        self.lasted.map(|lasted| (lasted.as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

/// The line that `journalctl` shows; the fields have the rest.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.event.label())?;
        if let Some(target) = &self.target {
            write!(f, ", target {}", shown(target))?;
        }
        if let Some(params) = self.params_in_words() {
            write!(f, " {params}")?;
        }
        if let Some(user) = &self.user {
            write!(f, ", user {}", shown(user))?;
        }
        if let Some(end) = self.end {
            let reason = self.reason.as_deref().unwrap_or(end.reason());
            write!(f, ": {} ({})", reason.escape_debug(), end.code())?;
        }
        Ok(())
    }
}

/// The payload of `stream.v1.host.<id>.event.<event>`.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &VERSION)?;
        map.serialize_entry("at", &format_rfc3339_millis(self.at).to_string())?;
        map.serialize_entry("event", self.event.label())?;
        entry(&mut map, "session", self.session.as_ref())?;
        entry(&mut map, "stream", self.stream)?;
        entry(&mut map, "host", self.host.as_ref())?;
        entry(&mut map, "target", self.target.as_deref().map(shown))?;
        entry(&mut map, "params", (!self.params.is_empty()).then_some(&self.params))?;
        entry(&mut map, "user", self.user.as_deref().map(shown))?;
        entry(&mut map, "peer", self.peer.as_ref())?;
        entry(&mut map, "token", self.token.as_ref())?;
        entry(&mut map, "mode", self.mode)?;
        entry(&mut map, "bytes_in", self.bytes_in)?;
        entry(&mut map, "bytes_out", self.bytes_out)?;
        entry(&mut map, "seconds", self.seconds())?;
        entry(&mut map, "end", self.end.map(End::label))?;
        entry(&mut map, "code", self.end.map(End::code))?;
        entry(&mut map, "reason", self.reason.as_ref())?;
        map.end()
    }
}

fn entry<M: SerializeMap>(map: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing::field::{Field, Visit};
    use tracing::span;

    use super::*;

    fn ended() -> Record {
        Record {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
            session: Some("01J".into()),
            stream: Some(1),
            host: Some("h1".parse().unwrap()),
            target: Some("vm1".into()),
            params: BTreeMap::from([("unit".to_owned(), "a@1".to_owned())]),
            user: Some("alice\nstream ended".into()),
            peer: Some("192.0.2.1".into()),
            token: Some("0f007385".into()),
            mode: Some(Mode::Rw),
            bytes_in: Some(12),
            bytes_out: Some(3400),
            lasted: Some(Duration::from_micros(1_500_499)),
            end: Some(End::TargetFailed),
            reason: Some("connection refused".into()),
            ..Record::new(Event::Ended)
        }
    }

    #[test]
    fn the_json_form_has_every_field_under_its_name() {
        assert_eq!(
            serde_json::to_value(ended()).unwrap(),
            json!({
                "v": 1, "at": "2023-11-14T22:13:20.250Z", "event": "ended", "session": "01J", "stream": 1,
                "host": "h1", "target": "vm1", "params": {"unit": "a@1"}, "user": "alice\\nstream ended", "peer": "192.0.2.1",
                "token": "0f007385", "mode": "rw", "bytes_in": 12, "bytes_out": 3400, "seconds": 1.5,
                "end": "target_failed", "code": 4502, "reason": "connection refused",
            })
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let record = Record { at: SystemTime::UNIX_EPOCH, ..Record::new(Event::Refused) };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(text, r#"{"v":1,"at":"1970-01-01T00:00:00.000Z","event":"refused"}"#);
        assert_eq!(record.to_string(), "stream refused");
    }

    #[test]
    fn a_parameter_cannot_look_like_another_field() {
        let params =
            [("a", "x, user root"), ("b", "1 c=2"), ("d", "\"\n"), ("e", ""), ("f", "web@1.service")];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let record = Record { target: Some("t".into()), params, ..Record::new(Event::Started) };
        assert_eq!(
            record.to_string(),
            r#"stream started, target t a="x, user root" b="1 c=2" d="\"\n" e="" f=web@1.service"#
        );
    }

    #[test]
    fn log_makes_one_event_with_the_fields_and_the_level_of_the_end() {
        let seen = Events::default();
        tracing::subscriber::with_default(seen.clone(), || {
            ended().log();
            Record { end: Some(End::PeerLeft), ..Record::new(Event::Ended) }.log();
            Record::new(Event::Started).log();
        });
        let seen = seen.0.lock().unwrap();
        let levels: Vec<_> = seen.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [tracing::Level::WARN, tracing::Level::INFO, tracing::Level::INFO]);
        let fields = &seen[0].1;
        assert_eq!(
            fields["message"],
            "stream ended, target vm1 unit=a@1, user alice\\nstream ended: connection refused (4502)"
        );
        for (name, value) in [
            ("mode", "rw"),
            ("params", "\"unit=a@1\""),
            ("event", "\"ended\""),
            ("code", "4502"),
            ("seconds", "1.5"),
            ("end", "\"target_failed\""),
        ] {
            assert_eq!(fields[name], value);
        }
        assert_eq!(fields.len(), 17, "{fields:?}");
        assert_eq!(seen[2].1.len(), 2, "unknown fields are not logged: {:?}", seen[2].1);
    }

    type Seen = (tracing::Level, BTreeMap<&'static str, String>);

    /// Keeps every event of target [`TARGET`].
    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<Seen>>>);

    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    impl tracing::Subscriber for Events {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target() == TARGET
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push((*event.metadata().level(), fields.0));
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
}
