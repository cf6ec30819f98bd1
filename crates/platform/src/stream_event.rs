//! What hosts publish below `event.`: audit records and signs of life, as somebody who receives them has to read them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use humantime_serde::re::humantime::parse_rfc3339;
use serde::Deserialize;

use protocol::host::HostId;
use protocol::mode::Mode;
use protocol::presence::{ALIVE, Alive, GONE, Gone, VERSION};

/// The largest message that is read, in bytes.
const MOST: usize = 16 * 1024;

/// The longest id of a session, in characters: a ULID has 26.
const MAX_SESSION: usize = 64;

/// A message of a host.
#[derive(Debug)]
pub(crate) enum HostEvent {
    Alive(Alive),
    Gone(Gone),
    Stream(Box<StreamEvent>),
}

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Started,
    Ended,
    Refused,
}

/// A record of a stream that belongs to a session.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamEvent {
    v: u64,
    at: Option<String>,
    #[serde(rename = "event")]
    pub kind: Kind,
    #[serde(default)]
    pub session: String,
    pub host: HostId,
    #[serde(default)]
    pub target: String,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    pub user: Option<String>,
    pub peer: Option<IpAddr>,
    pub mode: Option<Mode>,
    #[serde(default)]
    pub bytes_in: u64,
    #[serde(default)]
    pub bytes_out: u64,
    pub code: Option<u16>,
}

impl HostEvent {
    /// Reads a message from its subject below `prefix`. `None` for what is not of this version, not about the host of
    /// the subject, or not about a session.
    pub(crate) fn parse(prefix: &str, subject: &str, payload: &[u8]) -> Option<HostEvent> {
        let rest = subject.strip_prefix(prefix)?.strip_prefix(".host.")?;
        let (host, kind) = rest.split_once('.')?;
        let is_from = |v: u64, named: &HostId| v == VERSION && named.as_str() == host;
        if payload.len() > MOST {
            return None;
        }
        match kind {
            ALIVE => {
                let alive: Alive = serde_json::from_slice(payload).ok()?;
                is_from(alive.v, &alive.host).then_some(HostEvent::Alive(alive))
            }
            GONE => {
                let gone: Gone = serde_json::from_slice(payload).ok()?;
                is_from(gone.v, &gone.host).then_some(HostEvent::Gone(gone))
            }
            _ => {
                let kind = kind.strip_prefix("event.")?;
                let event: StreamEvent = serde_json::from_slice(payload).ok()?;
                let is_good =
                    is_from(event.v, &event.host) && event.kind.label() == kind && is_id(&event.session);
                is_good.then(|| HostEvent::Stream(Box::new(event)))
            }
        }
    }
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Kind::Started => "started",
            Kind::Ended => "ended",
            Kind::Refused => "refused",
        }
    }
}

impl StreamEvent {
    /// When it happened; now, if the host does not say so in a way that is understood.
    pub(crate) fn at(&self) -> SystemTime {
        let at = self.at.as_deref().and_then(|at| parse_rfc3339(at).ok());
        at.unwrap_or_else(SystemTime::now)
    }
}

/// Whether this can be the id of a session.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_SESSION).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(subject: &str, payload: &str) -> Option<HostEvent> {
        HostEvent::parse("stream.v1", subject, payload.as_bytes())
    }

    #[test]
    fn records_and_signs_of_life_are_read() {
        let ended = r#"{"v":1,"at":"2026-11-29T20:00:00.000Z","event":"ended","session":"S1","stream":1,"host":"h1",
            "target":"t","params":{"a":"b"},"user":"u","peer":"192.0.2.1","token":"00","mode":"rw","bytes_in":1,
            "bytes_out":2,"seconds":3.5,"end":"target_ended","code":1000,"reason":"r","later":true}"#;
        let Some(HostEvent::Stream(event)) = parse("stream.v1.host.h1.event.ended", ended) else { panic!() };
        assert_eq!((event.kind, event.session.as_str(), event.code), (Kind::Ended, "S1", Some(1000)));
        assert_eq!((event.bytes_in, event.bytes_out, event.mode), (1, 2, Some(Mode::Rw)));
        assert_eq!(Some(event.at()), parse_rfc3339("2026-11-29T20:00:00Z").ok());
        let alive = r#"{"v":1,"host":"h1","instance":"i","version":"1","since":"x","every":60}"#;
        assert!(matches!(parse("stream.v1.host.h1.alive", alive), Some(HostEvent::Alive(_))));
        let gone = r#"{"v":1,"host":"h1","instance":"i"}"#;
        assert!(matches!(parse("stream.v1.host.h1.gone", gone), Some(HostEvent::Gone(_))));
    }

    #[test]
    fn what_a_host_says_of_another_one_or_in_another_version_is_nothing() {
        let started = |v: u64, host: &str| {
            format!(r#"{{"v":{v},"event":"started","session":"S1","host":"{host}","target":"t"}}"#)
        };
        assert!(parse("stream.v1.host.h1.event.started", &started(1, "h1")).is_some());
        for (subject, payload) in [
            ("stream.v1.host.h1.event.started", started(1, "h2")),
            ("stream.v1.host.h1.event.started", started(2, "h1")),
            ("stream.v1.host.h1.event.ended", started(1, "h1")),
            ("stream.v1.host.h1.event.test", r#"{"v":1,"event":"test"}"#.into()),
            ("stream.v1.host.h1.event.started", started(1, "h1").replace("S1", "")),
            ("stream.v1.host.h1.event.started", started(1, "h1").replace("S1", "a b")),
            ("stream.v1.host.h1.start", started(1, "h1")),
            ("other.v1.host.h1.event.started", started(1, "h1")),
            (
                "stream.v1.host.h1.alive",
                r#"{"v":1,"host":"h2","instance":"i","version":"1","since":"x","every":1}"#.into(),
            ),
            ("stream.v1.host.h1.gone", r#"{"v":2,"host":"h1","instance":"i"}"#.into()),
            ("stream.v1.host.h1.event.started", started(1, "h1") + &" ".repeat(MOST)),
        ] {
            assert!(parse(subject, &payload).is_none(), "{subject} {payload}");
        }
    }
}
