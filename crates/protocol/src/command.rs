//! The messages over NATS: subjects, the start and stop commands, and their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::HostId;
use super::mode::Mode;
use super::token::Token;
use super::view::View;

/// The largest start command that an agent accepts, in bytes.
pub const MAX_COMMAND: usize = 16 * 1024;

/// The largest payload of every other subject, in bytes.
pub const MAX_QUESTION: usize = 4 * 1024;

/// The payload for `event.test`, which no audit takes for a record.
pub const TEST_EVENT: &str = r#"{"v":1,"event":"test"}"#;

/// How long a platform waits for an answer if its command has no `answer_within_ms`: one second less than the 5 s
/// that the bundled platform waited before that field existed.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// The version of commands and answers.
pub const VERSION: u64 = 1;

/// The default prefix of every subject.
pub const DEFAULT_PREFIX: &str = "stream.v1";

/// The subjects of one host.
#[derive(Clone, Debug)]
pub struct Subjects {
    root: String,
}

impl Subjects {
    /// Subjects of `host` below `prefix`.
    pub fn new(prefix: &str, host: &HostId) -> Subjects {
        Subjects { root: format!("{prefix}.host.{host}") }
    }

    /// What all subjects of this host begin with.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What every inbox of this host begins with.
    pub fn inbox(&self) -> String {
        format!("{}.inbox", self.root)
    }

    /// The platform starts a session here.
    pub fn start(&self) -> String {
        format!("{}.start", self.root)
    }

    /// The platform ends a session here.
    pub fn stop(&self) -> String {
        format!("{}.stop", self.root)
    }

    /// The platform asks here for the targets that can be opened.
    pub fn targets(&self) -> String {
        format!("{}.targets", self.root)
    }

    /// Agents check here that their subscription works, and that no other agent has their host id.
    pub fn hello(&self) -> String {
        format!("{}.hello", self.root)
    }

    /// The agent publishes signs of life here, `alive` or `gone`. Not below `event`, so that what stores audit records
    /// does not store one for each host and minute.
    pub fn presence(&self, kind: &str) -> String {
        format!("{}.{kind}", self.root)
    }

    /// The agent publishes audit records of this kind here.
    pub fn event(&self, kind: &str) -> String {
        format!("{}.event.{kind}", self.root)
    }
}

/// The start command. Nothing in it is verified yet.
#[derive(Debug)]
pub struct Start {
    /// What to open.
    pub body: StartBody,
    /// How long after the receipt of the command an answer is useful, if the platform sets it. A duration, because the
    /// clocks of host and platform may differ.
    pub answer_within: Option<Duration>,
}

/// The two forms of a start command.
#[derive(Debug)]
pub enum StartBody {
    /// A signed grant (JWS compact).
    Signed(String),
    /// Simple mode: an opaque token.
    Opaque(OpaqueStart),
}

/// The start command of simple mode.
#[derive(Debug, Deserialize)]
pub struct OpaqueStart {
    /// The same token as in the client's URL.
    pub token: Token,
    /// Name of the target in the host's allowlist.
    pub target: String,
    /// Parameters of a templated target.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// URL of the relay to dial.
    pub relay: String,
    /// Read-only or read-write; the target's own default if not given.
    pub mode: Option<Mode>,
    /// Upper bound on streams in the session.
    pub max_streams: Option<u32>,
    /// Hard end of the session, in seconds.
    pub max_seconds: Option<u64>,
    /// The user who asked, for the audit record.
    pub user: Option<String>,
}

impl Start {
    /// Reads a start command.
    ///
    /// # Errors
    /// A [`Refusal`] that can be the answer: it never quotes the payload, which contains secrets.
    pub fn parse(payload: &[u8]) -> Result<Start, Refusal> {
        #[derive(Deserialize)]
        struct Head {
            v: u64,
            grant: Option<String>,
            answer_within_ms: Option<u64>,
        }
        if payload.len() > MAX_COMMAND {
            return Err(Refusal::new(Code::TooLarge, format!("command is over {MAX_COMMAND} bytes")));
        }
        let malformed = |error: serde_json::Error| {
            Refusal::new(
                Code::BadCommand,
                format!("command does not parse at line {} column {}", error.line(), error.column()),
            )
        };
        let head: Head = serde_json::from_slice(payload).map_err(malformed)?;
        if head.v != VERSION {
            return Err(Refusal::new(
                Code::UnsupportedVersion,
                format!("command has v {}, this agent speaks v {VERSION}", head.v),
            ));
        }
        let body = match head.grant {
            Some(grant) => StartBody::Signed(grant),
            None => StartBody::Opaque(serde_json::from_slice(payload).map_err(malformed)?),
        };
        Ok(Start { body, answer_within: head.answer_within_ms.map(Duration::from_millis) })
    }
}

/// The stop command, which ends a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stop {
    /// Id of the session to end.
    pub session: String,
    /// Becomes the reason of the client's close frame.
    #[serde(default)]
    pub reason: String,
}

/// The answer to a start or stop command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Always [`VERSION`] in this version.
    pub v: u64,
    /// Whether the command was carried out.
    pub ok: bool,
    /// Id of the session, unless the command was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Why the command was not carried out.
    #[serde(flatten)]
    pub refusal: Option<Refusal>,
}

impl Answer {
    /// The answer once the host is parked, or the session was ended.
    pub fn accepted(session: impl Into<String>) -> Answer {
        Answer { v: VERSION, ok: true, session: Some(session.into()), refusal: None }
    }

    /// The answer if the command is refused.
    pub fn refused(refusal: Refusal) -> Answer {
        Answer { v: VERSION, ok: false, session: None, refusal: Some(refusal) }
    }
}

/// A refusal: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({})", .code.label())]
pub struct Refusal {
    /// The code, for programs.
    pub code: Code,
    /// For people: what is wrong, and how to fix it.
    pub message: String,
}

impl Refusal {
    /// A refusal with this message.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

/// Every code that an agent or a relay refuses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The command does not parse.
    BadCommand,
    /// The command's version is not supported.
    UnsupportedVersion,
    /// The command is larger than [`MAX_COMMAND`].
    TooLarge,
    /// A grant instead of a token, or a token instead of a grant.
    WrongAuthMode,
    /// The grant is not a JWS of the right type, or lacks claims.
    GrantMalformed,
    /// The grant's algorithm is not EdDSA.
    GrantAlgorithm,
    /// No public key under the grant's `kid`.
    GrantUnknownIssuer,
    /// The grant's signature does not verify.
    GrantSignature,
    /// The grant has expired, is not valid yet, or is valid for too long.
    GrantExpired,
    /// The grant is for another host.
    GrantAudience,
    /// The grant was used before.
    GrantReplayed,
    /// The grant needs a proof of the host's key, which is missing or wrong.
    GrantProof,
    /// The relay key is missing or wrong (simple mode).
    RelayKey,
    /// The relay is not on the agent's list, or the grant names another relay.
    RelayNotAllowed,
    /// The target is not on the host's allowlist.
    TargetNotAllowed,
    /// The target does not allow this mode.
    ModeNotAllowed,
    /// The target does not take these parameters.
    ParamsNotAllowed,
    /// A limit on streams is reached.
    Busy,
    /// The relay could not be reached in time.
    RelayUnreachable,
    /// The relay refused the dial; the message has its answer.
    RelayRefused,
    /// No such session on this host.
    NoSession,
    /// The relay has just started and cannot know whether the grant was used before. Only from relays to hosts.
    RelayStarting,
    /// The program is shutting down.
    Stopping,
    /// A fault in the program.
    Internal,
}

impl Code {
    /// The code in JSON, metrics and audit records.
    pub const fn label(self) -> &'static str {
        match self {
            Code::BadCommand => "bad_command",
            Code::UnsupportedVersion => "unsupported_version",
            Code::TooLarge => "too_large",
            Code::WrongAuthMode => "wrong_auth_mode",
            Code::GrantMalformed => "grant_malformed",
            Code::GrantAlgorithm => "grant_algorithm",
            Code::GrantUnknownIssuer => "grant_unknown_issuer",
            Code::GrantSignature => "grant_signature",
            Code::GrantExpired => "grant_expired",
            Code::GrantAudience => "grant_audience",
            Code::GrantReplayed => "grant_replayed",
            Code::GrantProof => "grant_proof",
            Code::RelayKey => "relay_key",
            Code::RelayNotAllowed => "relay_not_allowed",
            Code::TargetNotAllowed => "target_not_allowed",
            Code::ModeNotAllowed => "mode_not_allowed",
            Code::ParamsNotAllowed => "params_not_allowed",
            Code::Busy => "busy",
            Code::RelayUnreachable => "relay_unreachable",
            Code::RelayRefused => "relay_refused",
            Code::NoSession => "no_session",
            Code::RelayStarting => "relay_starting",
            Code::Stopping => "stopping",
            Code::Internal => "internal",
        }
    }
}

/// One target of a host's allowlist, as the platform gets it: without its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// The name that grants contain.
    pub name: String,
    /// The kind of target: `tcp`, `unix`, `file`, …
    pub kind: String,
    /// A description for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Allowed modes, the default first.
    pub modes: Vec<Mode>,
    /// Names of the parameters that a grant may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<String>,
    /// Whether the target is a terminal: it takes single keys, and has a size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// What shows it best, if the host knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<View>,
    /// The allowed values of parameters whose owner listed them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub choices: BTreeMap<String, Vec<String>>,
}

/// The answer to a request for targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetList {
    /// Always [`VERSION`] in this version.
    pub v: u64,
    /// Id of the host that answers.
    pub host: HostId,
    /// The targets that can be opened.
    pub targets: Vec<TargetInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_ignore_unknown_fields_and_refuse_unknown_versions() {
        let start = Start::parse(br#"{"v":1,"grant":"a.b.c","later":true}"#).unwrap();
        assert_eq!(start.answer_within, None);
        assert!(matches!(start.body, StartBody::Signed(grant) if grant == "a.b.c"));
        let start = Start::parse(br#"{"v":1,"grant":"a.b.c","answer_within_ms":1500}"#).unwrap();
        assert_eq!(start.answer_within, Some(Duration::from_millis(1500)));
        let refusal = Start::parse(br#"{"v":1,"grant":"a.b.c","answer_within_ms":-1}"#).unwrap_err();
        assert_eq!(refusal.code, Code::BadCommand);
        let refusal = Start::parse(br#"{"v":2,"grant":"a.b.c"}"#).unwrap_err();
        assert_eq!(refusal.code, Code::UnsupportedVersion);
    }

    #[test]
    fn a_refused_command_never_quotes_its_payload() {
        let token = "A".repeat(44);
        let payload = format!(r#"{{"v":1,"token":"{token}","target":"t","relay":"r"}}"#);
        let refusal = Start::parse(payload.as_bytes()).unwrap_err();
        assert_eq!(refusal.code, Code::BadCommand);
        assert!(!refusal.to_string().contains("AAAA"));
        assert_eq!(Start::parse(&vec![b' '; MAX_COMMAND + 1]).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn answers_have_the_documented_form() {
        let ok = serde_json::to_string(&Answer::accepted("s")).unwrap();
        assert_eq!(ok, r#"{"v":1,"ok":true,"session":"s"}"#);
        let no = Answer::refused(Refusal::new(Code::Busy, "64 streams are open"));
        let text = serde_json::to_string(&no).unwrap();
        assert_eq!(text, r#"{"v":1,"ok":false,"code":"busy","message":"64 streams are open"}"#);
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), no);
        assert_eq!(serde_json::from_str::<Answer>(&ok).unwrap().refusal, None);
    }
}
