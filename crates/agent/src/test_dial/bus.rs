//! Tests the connection to NATS, and the permissions that an agent needs there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use async_nats::{Client, Event, ServerError};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::config::Settings;
use protocol::command::{Subjects, TEST_EVENT};
use service::exit::Exit;
use service::nats::{ConnectFailure, ServerProbe, Unreachable, explain};

use super::report::{DEAD_ADDRESS, Report};

/// How long a message to ourselves may take.
const ROUND_TRIP: Duration = Duration::from_secs(3);

/// How long a violation that the server has sent may take to become an event.
const LATE: Duration = Duration::from_millis(100);

/// How long a running agent may take to answer.
const ANSWERS: Duration = Duration::from_millis(500);

/// A hello that is not of an agent: a running agent answers it without reporting a second one.
const QUESTION: &str = r#"{"test":true}"#;

/// Tests the connection and every permission that an agent needs.
pub(super) async fn test(report: &mut Report, settings: &Settings) {
    let subjects = Subjects::new(&settings.prefix, &settings.host);
    let complaints = Complaints::default();
    let events = complaints.clone();
    let inbox = subjects.inbox();
    let probes = settings.nats.probe().await;
    addresses(report, &probes);
    let begun = Instant::now();
    match settings.nats.try_connect(&probes, inbox, move |event| events.add(&event)).await {
        Ok(client) => {
            let info = client.server_info();
            let took = begun.elapsed().as_millis();
            let detail = format!("{}, version {}, in {took} ms", settings.nats.describe(), info.version);
            report.pass("nats-connect", None, detail);
            let test = Test { report, client, subjects, complaints };
            test.permissions().await;
        }
        Err(error) => {
            let (words, exit, remedy) = judge(&error);
            let detail = format!("{}: {words}", settings.nats.describe());
            report.fail("nats-connect", None, exit, detail, remedy);
        }
    }
}

/// Whether each address of each server accepts connections. If none does, the connect reports all of them.
fn addresses(report: &mut Report, probes: &[ServerProbe]) {
    if !probes.iter().any(ServerProbe::is_reachable) {
        return;
    }
    for probe in probes {
        let (of, detail) = (probe.server(), probe.to_string());
        let all = probe
            .addresses
            .as_ref()
            .is_ok_and(|addresses| addresses.iter().all(|(_, connected)| connected.is_ok()));
        match all {
            true => report.pass("nats-tcp", Some(&of), detail),
            false if probe.is_reachable() => report.pass_but("nats-tcp", Some(&of), detail, DEAD_ADDRESS),
            false => report.pass_but(
                "nats-tcp",
                Some(&of),
                detail,
                "the other servers are used: start this one, let this host reach it, or remove it from servers, in [nats] of \
                 CONFIG",
            ),
        }
    }
}

/// What is wrong, the exit code, and the remedy.
fn judge(error: &anyhow::Error) -> (String, Exit, &'static str) {
    let (failure, text) = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(error @ Unreachable(_)), _) => (ConnectFailure::NoneAnswers, error.to_string()),
        // Its text has that of its causes.
        (None, Some(error)) => (ConnectFailure::from_error(error), error.to_string()),

        // One of our own files.
        (None, None) => {
            return (format!("{error:#}"), Exit::Config, "check the files that [nats] of CONFIG names");
        }
    };
    let (exit, remedy) = match failure {
        ConnectFailure::NotTls => (
            Exit::Unavailable,
            "[nats] of CONFIG asks for TLS (tls://, ca_file, cert_file or tls_first): set up TLS on the server, or check \
             the port",
        ),
        ConnectFailure::OtherName => (
            Exit::Unavailable,
            "the server's certificate has another name: write in servers, in [nats] of CONFIG, one that it has",
        ),
        ConnectFailure::CaAsServer => (
            Exit::Unavailable,
            "make the server another certificate, with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`, \
             copy it to this host, and name it in [nats] of CONFIG: ca_file = \"/etc/stream-agent/ca.pem\"",
        ),
        ConnectFailure::UnknownIssuer => (
            Exit::Unavailable,
            "if the server's certificate is of a private CA, set in [nats] of CONFIG: ca_file = \"/etc/stream-agent/ca.pem\"; \
             if it is of a public one: `apt install ca-certificates`",
        ),
        ConnectFailure::Date => {
            (Exit::Unavailable, "renew the server's certificate, or set this host's clock (NTP)")
        }
        ConnectFailure::OurCertificate => (
            Exit::NoPerm,
            "set in [nats] of CONFIG a certificate that the server trusts: cert_file = \"/etc/stream-agent/nats.crt\" and \
             key_file = \"/etc/stream-agent/nats.key\"",
        ),
        ConnectFailure::OwnFiles => (
            Exit::NoPerm,
            "check the files that [nats] of CONFIG names, and that servers names the right server",
        ),
        ConnectFailure::Login => (
            Exit::NoPerm,
            "set in [nats] of CONFIG what the server knows this host by, such as \
             creds_file = \"/etc/stream-agent/nats.creds\" (or nkey_seed_file, user and password_file, token_file)",
        ),
        ConnectFailure::NoAddress => (
            Exit::Unavailable,
            "check the names in [nats] of CONFIG: servers = [\"tls://nats.example.com:4222\"]",
        ),
        ConnectFailure::NotNats => (
            Exit::Unavailable,
            "check the port in [nats] of CONFIG: servers = [\"tls://nats.example.com:4222\"]; for a server with \
             handshake_first, set tls_first = true beside it",
        ),
        ConnectFailure::Refused
        | ConnectFailure::NoneAnswers
        | ConnectFailure::TimedOut
        | ConnectFailure::Other => (
            Exit::Unavailable,
            "check [nats] of CONFIG: servers = [\"tls://nats.example.com:4222\"], that the server runs, and that a firewall lets \
             this host out to it",
        ),
    };
    (failure.describe(&text), exit, remedy)
}

struct Test<'a> {
    report: &'a mut Report,
    client: Client,
    subjects: Subjects,
    complaints: Complaints,
}

impl Test<'_> {
    async fn permissions(mut self) {
        // Without the inbox, all further steps would look refused.
        if let Err(error) = self.settled().await {
            return self.failed("nats-inbox", &error);
        }
        self.subscriptions().await;
        match self.hello().await {
            Ok(detail) => self.report.pass("nats-hello", Some(&self.subjects.hello()), detail),
            Err(error) => self.failed("nats-hello", &error),
        }
        let subject = self.subjects.event("test");
        match self.event(&subject).await {
            Ok(()) => self.report.pass("nats-event", Some(&subject), "records can be published".into()),
            Err(error) => self.failed("nats-event", &error),
        }
    }

    async fn subscriptions(&mut self) {
        let mut wanted: Vec<String> = vec!["$SRV.PING".into()];
        wanted.extend([self.subjects.start(), self.subjects.stop(), self.subjects.targets()]);
        let mut allowed = Vec::new();
        for subject in wanted {
            match self.subscription(&subject).await {
                Ok(()) => allowed.push(subject),
                Err(error) => self.failed("nats-subscribe", &error),
            }
        }
        if !allowed.is_empty() {
            self.report.pass("nats-subscribe", None, allowed.join(", "));
        }
    }

    /// Messages that arrive meanwhile are not answered here; a running agent gets them, too.
    async fn subscription(&self, subject: &str) -> Result<()> {
        let mut subscriber = self.client.queue_subscribe(subject.to_owned(), group()).await?;
        let settled = self.settled().await;
        subscriber.unsubscribe().await?;
        settled
    }

    /// Sends a request to our own hello subject, receives it, and answers to an inbox like a platform's.
    async fn hello(&self) -> Result<String> {
        let subject = self.subjects.hello();
        let mut hello = self.client.queue_subscribe(subject.clone(), group()).await?;
        self.settled().await?;

        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await?;
        let begun = Instant::now();
        self.client.publish_with_reply(subject.clone(), inbox, QUESTION.into()).await?;
        if timeout(ROUND_TRIP, hello.next()).await.is_err() {
            self.settled().await?;
            bail!("a question to {subject} did not reach us");
        }
        let took = begun.elapsed();
        let running = timeout(ANSWERS, answers.next()).await.ok().flatten();

        // A platform's inbox is outside of our own subjects, so this needs allow_responses.
        let foreign = format!("_INBOX.{}", ulid::Ulid::generate());
        self.client.publish_with_reply(subject, foreign.clone(), QUESTION.into()).await?;
        match timeout(ROUND_TRIP, hello.next()).await {
            Ok(Some(_)) => self.client.publish(foreign, "{}".into()).await?,
            // The request itself was refused, so answers cannot be tested.
            _ => self.complaints.forget(),
        }
        hello.unsubscribe().await?;
        self.settled().await?;
        let running = match running {
            Some(answer) => format!("; an agent{} runs with this host id", version(&answer.payload)),
            None => String::new(),
        };
        Ok(format!("round trip {:.1} ms, requests can be answered{running}", took.as_secs_f64() * 1e3))
    }

    async fn event(&self, subject: &str) -> Result<()> {
        self.client.publish(subject.to_owned(), TEST_EVENT.into()).await?;
        self.settled().await
    }

    /// Sends a message to ourselves. When it arrives, the server has handled everything before it, and its refusals are
    /// known.
    async fn settled(&self) -> Result<()> {
        let subject = self.client.new_inbox();
        let mut inbox = self.client.subscribe(subject.clone()).await?;
        self.client.publish(subject.clone(), "settle".into()).await?;
        let came = timeout(ROUND_TRIP, inbox.next()).await.is_ok_and(|message| message.is_some());
        sleep(LATE).await;
        let complaints = self.complaints.take();
        if !complaints.is_empty() {
            bail!("{}", complaints.join("; "));
        }
        if !came {
            bail!("what was published to {subject} did not come back within {} s", ROUND_TRIP.as_secs());
        }
        Ok(())
    }

    fn failed(&mut self, step: &'static str, error: &anyhow::Error) {
        let detail = format!("{error:#}");
        let root = self.subjects.root();
        let exit = if is_violation(&detail) { Exit::NoPerm } else { Exit::Unavailable };
        let remedy = format!(
            "grant {}; all that an agent needs is: permissions: {{ publish: [\"{root}.>\"], \
             subscribe: [\"{root}.>\", \"$SRV.>\"], allow_responses: true }}",
            grant(&detail, root).unwrap_or_else(|| "it in the server's configuration".into())
        );
        self.report.fail(step, None, exit, detail, &remedy);
    }
}

/// The server's complaints, in order.
#[derive(Clone, Default)]
struct Complaints(Arc<Mutex<Vec<String>>>);

impl Complaints {
    fn add(&self, event: &Event) {
        let text = match event {
            Event::ServerError(ServerError::Other(text)) => text.clone(),
            Event::ServerError(_) | Event::ClientError(_) | Event::Disconnected => explain(event),
            _ => return,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn forget(&self) {
        self.take();
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_violation(text: &str) -> bool {
    text.to_lowercase().contains("permissions violation")
}

/// The missing permission, from `Permissions Violation for Publish to "a.b"`.
fn grant(text: &str, root: &str) -> Option<String> {
    if !is_violation(text) {
        return None;
    }
    let subject = text.split('"').nth(1)?;
    if text.to_lowercase().contains("subscription") {
        return Some(format!("subscribe: \"{subject}\""));
    }
    if subject.starts_with(root) {
        return Some(format!("publish: \"{subject}\""));
    }
    Some("allow_responses: true".into())
}

/// A queue group for this test only, so that it takes no message from a running agent.
fn group() -> String {
    format!("test-{}", ulid::Ulid::generate())
}

fn version(payload: &[u8]) -> String {
    let hello: Option<serde_json::Value> = serde_json::from_slice(payload).ok();
    let version = hello.as_ref().and_then(|hello| hello.get("version")?.as_str());
    version.map(|version| format!(" of version {version}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_what_to_grant() {
        let root = "stream.v1.host.h1";
        let cases = [
            (
                r#"Permissions Violation for Subscription to "stream.v1.host.h1.start""#,
                "subscribe: \"stream.v1.host.h1.start\"",
            ),
            (
                r#"Permissions Violation for Publish to "stream.v1.host.h1.event.test""#,
                "publish: \"stream.v1.host.h1.event.test\"",
            ),
            (r#"Permissions Violation for Publish to "_INBOX.x""#, "allow_responses: true"),
        ];
        for (text, expected) in cases {
            assert_eq!(grant(text, root).as_deref(), Some(expected));
        }
        assert_eq!(grant("connection lost", root), None);
    }
}
