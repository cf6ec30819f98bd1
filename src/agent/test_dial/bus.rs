//! The way to NATS, and whether this host may do there what an agent does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use async_nats::{Client, ConnectErrorKind, Event, ServerError};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use crate::agent::config::Settings;
use crate::daemon::exit::Exit;
use crate::daemon::nats::explain;
use crate::protocol::command::{Subjects, TEST_EVENT};

use super::report::Report;

/// How long NATS has to bring back what we publish.
const ROUND_TRIP: Duration = Duration::from_secs(3);

/// How long a violation that the server has already sent may take to be seen.
const LATE: Duration = Duration::from_millis(100);

/// How long a running agent may take to answer.
const ANSWERS: Duration = Duration::from_millis(500);

/// What asks a hello subject without being an agent: a running one answers and raises no alarm.
const QUESTION: &str = r#"{"test":true}"#;

/// Tests the connection and every permission that an agent needs.
pub async fn test(report: &mut Report, settings: &Settings) {
    let subjects = Subjects::new(&settings.prefix, &settings.host);
    let complaints = Complaints::default();
    let told = complaints.clone();
    let inbox = subjects.inbox();
    let begun = Instant::now();
    match settings.nats.try_connect(inbox, move |event| told.hear(&event)).await {
        Ok(client) => {
            let info = client.server_info();
            let took = begun.elapsed().as_millis();
            let detail = format!("{}, version {}, in {took} ms", settings.nats.describe(), info.version);
            report.pass("nats-connect", None, detail);
            let test = Test { report, client, subjects, complaints };
            test.permissions().await;
        }
        Err(error) => {
            let (exit, remedy) = judge(&error);
            let detail = format!("{}: {error:#}", settings.nats.describe());
            report.fail("nats-connect", None, exit, detail, remedy);
        }
    }
}

fn judge(error: &anyhow::Error) -> (Exit, &'static str) {
    // The library calls what goes wrong in a handshake an I/O error.
    let text = format!("{error:#}");
    if text.contains("InvalidContentType") {
        return (
            Exit::Unavailable,
            "the server does not speak TLS at that port, and [nats] of CONFIG asks for it (tls://, ca_file, cert_file or \
             tls_first): set up TLS on the server, or check the port",
        );
    }
    if text.contains("not valid for name") {
        return (
            Exit::Unavailable,
            "the server's certificate has another name: write in servers, in [nats] of CONFIG, one that it has",
        );
    }
    let kind = error.downcast_ref::<async_nats::ConnectError>().map(async_nats::ConnectError::kind);
    match kind
        .map(|kind| if text.contains("invalid peer certificate") { ConnectErrorKind::Tls } else { kind })
    {
        // Our own refusal to log in.
        Some(ConnectErrorKind::Authentication) => (
            Exit::NoPerm,
            "check the files that [nats] of CONFIG names, and that servers names the right server",
        ),
        Some(ConnectErrorKind::AuthorizationViolation) => (
            Exit::NoPerm,
            "NATS refuses the login: set in [nats] of CONFIG what the server knows this host by, such as \
             creds_file = \"/etc/stream-agent/nats.creds\" (or nkey_seed_file, user and password_file, token_file)",
        ),
        Some(ConnectErrorKind::Tls) => (
            Exit::Unavailable,
            "if the server's certificate is of a private CA, set in [nats] of CONFIG: ca_file = \"/etc/stream-agent/ca.pem\"; \
             if it is of a public one: apt install ca-certificates",
        ),
        Some(ConnectErrorKind::Dns) => (
            Exit::Unavailable,
            "check the names in [nats] of CONFIG: servers = [\"tls://nats.example.com:4222\"]",
        ),
        // No error of NATS: one of our own files.
        None => (Exit::Config, "check the files that [nats] of CONFIG names"),
        Some(_) => (
            Exit::Unavailable,
            "check [nats] of CONFIG: servers = [\"tls://nats.example.com:4222\"], and that a firewall lets this host out \
             to that port",
        ),
    }
}

struct Test<'a> {
    report: &'a mut Report,
    client: Client,
    subjects: Subjects,
    complaints: Complaints,
}

impl Test<'_> {
    async fn permissions(mut self) {
        // Without the inbox nothing that follows could be told from a refusal.
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

    /// Commands that come while this is open are not answered by us, and a running agent hears them too.
    async fn subscription(&self, subject: &str) -> Result<()> {
        let mut subscriber = self.client.queue_subscribe(subject.to_owned(), group()).await?;
        let settled = self.settled().await;
        subscriber.unsubscribe().await?;
        settled
    }

    /// Asks our own hello subject, hears the question, and answers it where a platform would wait.
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

        // A platform waits in an inbox outside of our own subjects: that is what allow_responses is for.
        let foreign = format!("_INBOX.{}", ulid::Ulid::generate());
        self.client.publish_with_reply(subject, foreign.clone(), QUESTION.into()).await?;
        match timeout(ROUND_TRIP, hello.next()).await {
            Ok(Some(_)) => self.client.publish(foreign, "{}".into()).await?,
            // Not even the question was let through: then nothing can be said about answers.
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

    /// Sends something to ourselves: when it is back, the server has dealt with all that went before, and
    /// what it refused is known.
    async fn settled(&self) -> Result<()> {
        let subject = self.client.new_inbox();
        let mut inbox = self.client.subscribe(subject.clone()).await?;
        self.client.publish(subject.clone(), "settle".into()).await?;
        let came = timeout(ROUND_TRIP, inbox.next()).await.is_ok_and(|heard| heard.is_some());
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

/// What the server has complained of, in the order in which it did.
#[derive(Clone, Default)]
struct Complaints(Arc<Mutex<Vec<String>>>);

impl Complaints {
    fn hear(&self, event: &Event) {
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

/// What would have to be granted, out of `Permissions Violation for Publish to "a.b"`.
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

/// A group of its own, as the agent has one: a test takes nothing away from anybody.
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
