//! Where the events of streams go: each is one log line with fields, and a host's are published, too.

use tokio::sync::mpsc;
use tracing::warn;

use protocol::audit::{Context, Event, Record};
use protocol::end::{End, Level};
use protocol::host::HostId;
use protocol::name::shown;
use protocol::token::TokenHash;

use super::throttle::Throttle;

pub use protocol::audit::TARGET;

/// Records that wait to be published: an outage of NATS must not fill the memory.
const WAITING_RECORDS: usize = 1024;

pub struct Sink {
    published: Option<(mpsc::Sender<Record>, Throttle<&'static str>)>,
}

impl Sink {
    /// The log only.
    pub fn log() -> Sink {
        Sink { published: None }
    }

    /// The log, and the records to publish. `throttle` limits the lines about records for which there is no room.
    pub fn published(throttle: Throttle<&'static str>) -> (Sink, mpsc::Receiver<Record>) {
        let (records, published) = mpsc::channel(WAITING_RECORDS);
        (Sink { published: Some((records, throttle)) }, published)
    }

    /// Takes an event of now.
    pub fn report(&self, context: Context, event: Event) {
        let record = Record::new(context, event);
        log(&record);
        if let Some((records, throttle)) = &self.published
            && let Err(mpsc::error::TrySendError::Full(_)) = records.try_send(record)
            && throttle.admits("records that NATS did not take")
        {
            warn!("{WAITING_RECORDS} records wait for NATS: this one is only in the log");
        }
    }
}

/// Logs a record: exactly one event with target [`TARGET`].
fn log(record: &Record) {
    let Context { session, stream, host, target, params: _, user, peer, token, mode } = &record.context;
    let closing = record.event.closing();
    let outcome = record.outcome();
    // The level of an event is part of its call site, so there is a call site for each.
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                target: TARGET,
                // A record says by itself what spans would say: its fields are not to be there twice.
                parent: None,
                $level,
                event = record.event.label(),
                session = session.as_deref(),
                stream = *stream,
                host = host.as_ref().map(HostId::as_str),
                target = target.as_deref().map(shown).as_deref(),
                params = record.context.params_in_words(),
                user = user.as_deref().map(shown).as_deref(),
                peer = peer.map(|peer| peer.to_string()),
                token = token.as_ref().map(TokenHash::fingerprint),
                mode = mode.map(tracing::field::display),
                bytes_in = outcome.map(|(outcome, _)| outcome.bytes_in),
                bytes_out = outcome.map(|(outcome, _)| outcome.bytes_out),
                seconds = outcome.map(|(_, seconds)| seconds),
                end = closing.map(|closing| End::label(closing.end)),
                code = closing.map(|closing| End::code(closing.end)),
                reason = closing.map(|closing| &*closing.reason),
                "{record}"
            )
        };
    }
    match closing.map_or(Level::Info, |closing| closing.end.level()) {
        Level::Info => event!(tracing::Level::INFO),
        Level::Warn => event!(tracing::Level::WARN),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};

    use protocol::end::{Closing, Outcome};
    use protocol::mode::Mode;
    use tracing::field::{Field, Visit};
    use tracing::span;

    use super::super::metrics::Counter;
    use super::*;

    /// What programs read: each event with its payload, and its log line with all fields.
    const GOLDEN: [(&str, &str); 5] = [
        (
            r#"{"v":1,"at":"2023-11-14T22:13:20.250Z","event":"started","session":"01J","stream":2,"host":"h1","target":"logs","params":{"since":"1 h","unit":"a@1"},"user":"bob","peer":"2001:db8::1","token":"e3316e2b","mode":"ro"}"#,
            r#"INFO stream started, target logs since="1 h" unit=a@1, user bob | event="started" host="h1" mode=ro params="since=\"1 h\" unit=a@1" peer="2001:db8::1" session="01J" stream=2 target="logs" token="e3316e2b" user="bob""#,
        ),
        (
            r#"{"v":1,"at":"2023-11-14T22:13:20.250Z","event":"ended","session":"01J","stream":1,"host":"h1","target":"vm1","params":{"unit":"a@1"},"user":"alice\\nstream ended","peer":"192.0.2.1","token":"e3316e2b","mode":"rw","bytes_in":12,"bytes_out":3400,"seconds":1.5,"end":"target_failed","code":4502,"reason":"connection refused"}"#,
            r#"WARN stream ended, target vm1 unit=a@1, user alice\nstream ended: connection refused (4502) | bytes_in=12 bytes_out=3400 code=4502 end="target_failed" event="ended" host="h1" mode=rw params="unit=a@1" peer="192.0.2.1" reason="connection refused" seconds=1.5 session="01J" stream=1 target="vm1" token="e3316e2b" user="alice\\nstream ended""#,
        ),
        (
            r#"{"v":1,"at":"2023-11-14T22:13:20.250Z","event":"ended","session":"01J","stream":1,"host":"h1","peer":"192.0.2.1","token":"e3316e2b","bytes_in":0,"bytes_out":0,"seconds":0.0,"end":"peer_left","code":1001,"reason":"the other side left"}"#,
            r#"INFO stream ended: the other side left (1001) | bytes_in=0 bytes_out=0 code=1001 end="peer_left" event="ended" host="h1" peer="192.0.2.1" reason="the other side left" seconds=0.0 session="01J" stream=1 token="e3316e2b""#,
        ),
        (
            r#"{"v":1,"at":"2023-11-14T22:13:20.250Z","event":"refused","session":"01J","host":"h1","target":"vm1","user":"alice","token":"e3316e2b","end":"not_allowed","code":4403,"reason":"a\nb"}"#,
            r#"WARN stream refused, target vm1, user alice: a\nb (4403) | code=4403 end="not_allowed" event="refused" host="h1" reason="a\nb" session="01J" target="vm1" token="e3316e2b" user="alice""#,
        ),
        (
            r#"{"v":1,"at":"2023-11-14T22:13:20.250Z","event":"refused","peer":"192.0.2.1","end":"token_malformed","code":4401,"reason":"token malformed"}"#,
            r#"WARN stream refused: token malformed (4401) | code=4401 end="token_malformed" event="refused" peer="192.0.2.1" reason="token malformed""#,
        ),
    ];

    fn ended(outcome: (u64, u64, Closing), lasted: Duration) -> Event {
        let (bytes_in, bytes_out, closing) = outcome;
        Event::Ended { outcome: Outcome { bytes_in, bytes_out, closing }, lasted }
    }

    fn records() -> [Record; 5] {
        let stranger = Context { peer: Some("192.0.2.1".parse().unwrap()), ..Context::default() };
        let known = Context {
            session: Some("01J".into()),
            host: Some("h1".parse().unwrap()),
            token: Some(TokenHash::from_secret(b"a token")),
            ..Context::default()
        };
        let params = |params: &[(&str, &str)]| {
            params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let started = Context {
            stream: Some(2),
            target: Some("logs".into()),
            params: params(&[("unit", "a@1"), ("since", "1 h")]),
            user: Some("bob".into()),
            peer: Some("2001:db8::1".parse().unwrap()),
            mode: Some(Mode::Ro),
            ..known.clone()
        };
        let at_host = Context {
            stream: Some(1),
            target: Some("vm1".into()),
            params: params(&[("unit", "a@1")]),
            user: Some("alice\nstream ended".into()),
            mode: Some(Mode::Rw),
            peer: stranger.peer,
            ..known.clone()
        };
        let at_relay = Context { stream: Some(1), peer: stranger.peer, ..known.clone() };
        let unlinked = Context { target: Some("vm1".into()), user: Some("alice".into()), ..known };
        let failed = (12, 3400, Closing::new(End::TargetFailed, "connection refused"));
        let left = (0, 0, End::PeerLeft.into());
        let records = [
            Record::new(started, Event::Started),
            Record::new(at_host, ended(failed, Duration::from_micros(1_500_499))),
            Record::new(at_relay, ended(left, Duration::ZERO)),
            Record::new(unlinked, Event::Refused(Closing::new(End::NotAllowed, "a\nb"))),
            Record::new(stranger, Event::Refused(End::TokenMalformed.into())),
        ];
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        records.map(|record| Record { at, ..record })
    }

    #[test]
    fn every_event_is_written_as_it_always_was() {
        for (record, (json, line)) in records().iter().zip(GOLDEN) {
            assert_eq!(serde_json::to_string(record).unwrap(), json);
            assert_eq!(logged(|| log(record)), [line]);
        }
    }

    #[test]
    fn a_record_that_cannot_wait_is_still_logged() {
        let throttle = Throttle::new("troubles", Counter::default());
        let (sink, mut published) = Sink::published(throttle);
        let report = || sink.report(Context::default(), Event::Started);
        assert_eq!(logged(|| (0..=WAITING_RECORDS).for_each(|_| report())).len(), WAITING_RECORDS + 1);
        let mut count = 0;
        while let Ok(record) = published.try_recv() {
            assert_eq!(record.event, Event::Started);
            count += 1;
        }
        assert_eq!(count, WAITING_RECORDS);
    }

    /// Of each event the level, the message, and the fields by name.
    fn logged(cause: impl FnOnce()) -> Vec<String> {
        let seen = Events::default();
        tracing::subscriber::with_default(seen.clone(), cause);
        let seen = std::mem::take(&mut *seen.0.lock().unwrap());
        let line = |(level, mut fields): Seen| {
            let message = fields.remove("message").unwrap();
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{level} {message} | {}", fields.join(" "))
        };
        seen.into_iter().map(line).collect()
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
