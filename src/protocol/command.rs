//! What travels over NATS: subjects, the start and stop commands, and the answers to them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::HostId;
use super::mode::Mode;
use super::token::Token;

/// The largest start command that is read, in bytes.
pub const MAX_COMMAND: usize = 16 * 1024;

/// The largest payload of every other subject, in bytes.
pub const MAX_QUESTION: usize = 4 * 1024;

/// A record that no audit takes for a real one, for `event.test`.
pub const TEST_EVENT: &str = r#"{"v":1,"event":"test"}"#;

/// How long a platform waits that does not say so in its command: one second less than the 5 s that the bundled
/// platform waited before commands had `answer_within_ms`.
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

    /// The part that all of this host's subjects share.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What every inbox of this host begins with.
    pub fn inbox(&self) -> String {
        format!("{}.inbox", self.root)
    }

    /// Where the platform asks for a stream.
    pub fn start(&self) -> String {
        format!("{}.start", self.root)
    }

    /// Where the platform ends a session.
    pub fn stop(&self) -> String {
        format!("{}.stop", self.root)
    }

    /// Where the platform asks what may be opened.
    pub fn targets(&self) -> String {
        format!("{}.targets", self.root)
    }

    /// Where agents prove their subscription, and notice another one with the same id.
    pub fn hello(&self) -> String {
        format!("{}.hello", self.root)
    }

    /// Where the agent publishes an audit record.
    pub fn event(&self, kind: &str) -> String {
        format!("{}.event.{kind}", self.root)
    }
}

/// The start command, before anything in it is trusted.
#[derive(Debug)]
pub struct Start {
    /// What is to be opened.
    pub order: Ordered,
    /// How long after its receipt the answer is of use, where the platform says so. A duration, because the clocks of
    /// host and platform may differ.
    pub answer_within: Option<Duration>,
}

/// How a start command says what is to be opened.
#[derive(Debug)]
pub enum Ordered {
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
    /// Name of the target.
    pub target: String,
    /// Parameters of a templated target.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// The relay to dial.
    pub relay: String,
    /// Read-only or read-write; the target's own default if not given.
    pub mode: Option<Mode>,
    /// Upper bound on streams in the session.
    pub max_streams: Option<u32>,
    /// Hard end of the session, in seconds.
    pub max_seconds: Option<u64>,
    /// Who asked, for the audit record.
    pub user: Option<String>,
}

impl Start {
    /// Reads a start command.
    ///
    /// # Errors
    /// A [`Refusal`] that can be sent back as it is; it never quotes the payload, which holds secrets.
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
        let order = match head.grant {
            Some(grant) => Ordered::Signed(grant),
            None => Ordered::Opaque(serde_json::from_slice(payload).map_err(malformed)?),
        };
        Ok(Start { order, answer_within: head.answer_within_ms.map(Duration::from_millis) })
    }
}

/// The stop command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stop {
    /// The session to end.
    pub session: String,
    /// Shown to the client.
    #[serde(default)]
    pub reason: String,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub v: u64,
    /// Whether the command was carried out.
    pub ok: bool,
    /// The session, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Why not.
    #[serde(flatten)]
    pub refusal: Option<Refusal>,
}

impl Answer {
    /// The host is parked, or the session was ended.
    pub fn accepted(session: impl Into<String>) -> Answer {
        Answer { v: VERSION, ok: true, session: Some(session.into()), refusal: None }
    }

    /// The host will not do it.
    pub fn refused(refusal: Refusal) -> Answer {
        Answer { v: VERSION, ok: false, session: None, refusal: Some(refusal) }
    }
}

/// A refusal: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: what is wrong and what would mend it.
    pub message: String,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.label())
    }
}

impl std::error::Error for Refusal {}

/// Every code that an agent or a relay refuses with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The command does not parse.
    BadCommand,
    /// The command's version is not spoken here.
    UnsupportedVersion,
    /// The command is larger than [`MAX_COMMAND`].
    TooLarge,
    /// A grant where a token is expected, or the other way round.
    WrongAuthMode,
    /// The grant is not a JWS of the right type, or lacks claims.
    GrantMalformed,
    /// The grant's algorithm is not EdDSA.
    GrantAlgorithm,
    /// No public key under the grant's `kid`.
    GrantUnknownIssuer,
    /// The grant's signature does not verify.
    GrantSignature,
    /// The grant's time is over, not yet come, or longer than allowed.
    GrantExpired,
    /// The grant is for another host.
    GrantAudience,
    /// The grant was used before.
    GrantReplayed,
    /// The grant needs a proof of the host's key, and there is none or a wrong one.
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
    /// The relay could not be reached before the grant expired.
    RelayUnreachable,
    /// The relay said no.
    RelayRefused,
    /// No such session on this host.
    NoSession,
    /// The relay began a moment ago and cannot know whether the grant was used before. Said by relays to hosts only.
    RelayStarting,
    /// The program is shutting down.
    Stopping,
    /// Something that is nobody's fault but ours.
    Internal,
}

impl Code {
    /// The code as it stands in JSON, metrics and audit records.
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

/// One line of a host's allowlist as the platform sees it: never an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// The name that travels.
    pub name: String,
    /// `tcp`, `unix`, `file`, …
    pub kind: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Allowed modes, the default first.
    pub modes: Vec<Mode>,
    /// Names of the parameters that a grant may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<String>,
    /// Whether a terminal stands behind it: keys go to it one by one, and it has a size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
}

/// The answer to `targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetList {
    /// [`VERSION`].
    pub v: u64,
    /// The host that answers.
    pub host: HostId,
    /// What may be opened.
    pub targets: Vec<TargetInfo>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_ignore_unknown_fields_and_refuse_unknown_versions() {
        let start = Start::parse(br#"{"v":1,"grant":"a.b.c","later":true}"#).unwrap();
        assert_eq!(start.answer_within, None);
        assert!(matches!(start.order, Ordered::Signed(grant) if grant == "a.b.c"));
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
