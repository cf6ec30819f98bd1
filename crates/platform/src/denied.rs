//! Why the platform does not do what it is asked.

use protocol::command::Refusal;

use super::bus::Unanswered;
use super::usage::Exceeded;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The key may not do this, for this reason.
    Forbidden(String),
    /// A limit of the key is reached.
    Exceeded(Exceeded),
    /// No such session, or none that this key may end.
    UnknownSession,
    /// The request is not valid.
    BadRequest(String),
    /// No agent of the host is connected.
    Offline,
    /// The agent did not answer in time. Has the name of a JetStream stream, if one hides whether the agent is there.
    Late(Option<String>),
    /// The agent refused, with its own code.
    Refused(Refusal),
    /// There is no connection to NATS, or no permission for the request.
    Nats(String),
    /// The agent's answer does not parse.
    NotUnderstood(String),
    /// A fault in the platform.
    Broken(String),
}

impl From<Unanswered> for Denied {
    fn from(why: Unanswered) -> Denied {
        match why {
            Unanswered::Offline => Denied::Offline,
            Unanswered::Late(captured) => Denied::Late(captured),
            Unanswered::Nats(text) => Denied::Nats(text),
            Unanswered::NotUnderstood(text) => Denied::NotUnderstood(text),
        }
    }
}
