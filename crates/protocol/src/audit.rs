//! Who opened what, when, and how it ended: the events of a stream as records, and their JSON form. `docs/protocol.md`
//! lists the keys.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::format_rfc3339_millis;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::end::{Closing, End, Outcome};
use super::host::HostId;
use super::mode::Mode;
use super::name::shown;
use super::token::TokenHash;

/// The log target of records; filters can name it.
pub const TARGET: &str = "audit";

/// Version of the JSON form, as `"v"`. Fields may be added without a new version.
const VERSION: u8 = 1;

/// What happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The target was opened for a client.
    Started,
    /// A stream that had started ended.
    Ended {
        /// Bytes, and why. The reason may say more here than the peer receives.
        outcome: Outcome,
        /// How long the stream lasted.
        lasted: Duration,
    },
    /// A requested stream did not start, for this reason.
    Refused(Closing),
}

impl Event {
    /// The value of `event` in records, and the last token of the NATS event subject.
    pub const fn label(&self) -> &'static str {
        match self {
            Event::Started => "started",
            Event::Ended { .. } => "ended",
            Event::Refused(_) => "refused",
        }
    }

    /// Why the stream did not start, or why it ended.
    pub const fn closing(&self) -> Option<&Closing> {
        match self {
            Event::Started => None,
            Event::Ended { outcome, .. } => Some(&outcome.closing),
            Event::Refused(closing) => Some(closing),
        }
    }
}

/// Which stream an event is about. What is not known is left out of the log line and of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The session's ULID; in simple mode 16 hexadecimal digits of the token's hash.
    pub session: Option<String>,
    /// Number of the stream in its session, from 1.
    pub stream: Option<u32>,
    /// Id of the host that has the target.
    pub host: Option<HostId>,
    /// Name of the target; never its address.
    pub target: Option<String>,
    /// The grant's parameters for the target; only values that passed the target's rules.
    pub params: BTreeMap<String, String>,
    /// The user that the grant names. Names come from outside, so records have them as [`shown`]: none can look like
    /// another name, or like a line of this program.
    pub user: Option<String>,
    /// Address of the client, as the relay sees it.
    pub peer: Option<IpAddr>,
    /// The token's hash, of which records have the fingerprint.
    pub token: Option<TokenHash>,
    /// Whether the client could write.
    pub mode: Option<Mode>,
}

/// One event of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the event happened.
    pub at: SystemTime,
    /// Which stream the event is about.
    pub context: Context,
    /// What happened.
    pub event: Event,
}

impl Record {
    /// A record of an event that happens now.
    pub fn new(context: Context, event: Event) -> Record {
        Record { at: SystemTime::now(), context, event }
    }

    /// The outcome of a stream that ended, and its duration in seconds, rounded to milliseconds.
    pub fn outcome(&self) -> Option<(&Outcome, f64)> {
        match &self.event {
            Event::Ended { outcome, lasted } => {
                Some((outcome, (lasted.as_secs_f64() * 1000.0).round() / 1000.0))
            }
            Event::Started | Event::Refused(_) => None,
        }
    }
}

impl Context {
    /// The parameters as they are written on a command line. An owner's pattern may allow spaces and commas: a value
    /// with them is quoted, so that it cannot look like another parameter or field.
    pub fn params_in_words(&self) -> Option<String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@:+-/".contains(&byte);
        let in_words =
            |(name, value): (&String, &String)| match !value.is_empty() && value.bytes().all(is_plain) {
                true => format!("{name}={value}"),
                false => format!("{name}={value:?}"),
            };
        let params: Vec<_> = self.params.iter().map(in_words).collect();
        (!params.is_empty()).then(|| params.join(" "))
    }
}

/// The line that `journalctl` shows; the fields have the rest.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.event.label())?;
        if let Some(target) = &self.context.target {
            write!(f, ", target {}", shown(target))?;
        }
        if let Some(params) = self.context.params_in_words() {
            write!(f, " {params}")?;
        }
        if let Some(user) = &self.context.user {
            write!(f, ", user {}", shown(user))?;
        }
        if let Some(closing) = self.event.closing() {
            write!(f, ": {} ({})", closing.reason.escape_debug(), closing.end.code())?;
        }
        Ok(())
    }
}

/// The payload on the subject `stream.v1.host.<id>.event.<event>`.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Context { session, stream, host, target, params, user, peer, token, mode } = &self.context;
        let outcome = self.outcome();
        let closing = self.event.closing();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &VERSION)?;
        map.serialize_entry("at", &format_rfc3339_millis(self.at).to_string())?;
        map.serialize_entry("event", self.event.label())?;
        entry(&mut map, "session", session.as_ref())?;
        entry(&mut map, "stream", *stream)?;
        entry(&mut map, "host", host.as_ref())?;
        entry(&mut map, "target", target.as_deref().map(shown))?;
        entry(&mut map, "params", (!params.is_empty()).then_some(params))?;
        entry(&mut map, "user", user.as_deref().map(shown))?;
        entry(&mut map, "peer", *peer)?;
        entry(&mut map, "token", token.map(|token| token.fingerprint()))?;
        entry(&mut map, "mode", *mode)?;
        entry(&mut map, "bytes_in", outcome.map(|(outcome, _)| outcome.bytes_in))?;
        entry(&mut map, "bytes_out", outcome.map(|(outcome, _)| outcome.bytes_out))?;
        entry(&mut map, "seconds", outcome.map(|(_, seconds)| seconds))?;
        entry(&mut map, "end", closing.map(|closing| End::label(closing.end)))?;
        entry(&mut map, "code", closing.map(|closing| End::code(closing.end)))?;
        entry(&mut map, "reason", closing.map(|closing| &closing.reason))?;
        map.end()
    }
}

fn entry<M: SerializeMap>(map: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let record = Record { at: SystemTime::UNIX_EPOCH, ..Record::new(Context::default(), Event::Started) };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(text, r#"{"v":1,"at":"1970-01-01T00:00:00.000Z","event":"started"}"#);
        assert_eq!(record.to_string(), "stream started");
    }

    #[test]
    fn a_parameter_cannot_look_like_another_field() {
        let params =
            [("a", "x, user root"), ("b", "1 c=2"), ("d", "\"\n"), ("e", ""), ("f", "web@1.service")];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let context = Context { target: Some("t".into()), params, ..Context::default() };
        assert_eq!(
            Record::new(context, Event::Started).to_string(),
            r#"stream started, target t a="x, user root" b="1 c=2" d="\"\n" e="" f=web@1.service"#
        );
    }
}
