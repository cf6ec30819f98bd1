//! What a session is asked for, and the answers that both ways of opening a target give.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use protocol::command::{Code, Refusal};
use protocol::control::{FromHost, to_text};
use protocol::grant::Claims;
use protocol::mode::Mode;

/// What a verified start command asks of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub session: String,
    pub target: String,
    pub params: BTreeMap<String, String>,
    pub mode: Option<Mode>,
    /// Limit of streams; the target's own also applies.
    pub max_streams: Option<u32>,
    /// Limit of the session's time, in seconds; the host's own also applies.
    pub max_seconds: Option<u64>,
}

impl Request {
    pub fn from_claims(claims: &Claims) -> Request {
        Request {
            session: claims.sid.clone(),
            target: claims.target.clone(),
            params: claims.params.clone(),
            mode: claims.mode,
            max_streams: claims.max_streams,
            max_seconds: claims.max_seconds,
        }
    }

    /// How long the session may last, where the host allows `longest`.
    pub fn duration(&self, longest: Duration) -> Duration {
        self.max_seconds.map_or(longest, |seconds| longest.min(Duration::from_secs(seconds)))
    }
}

/// What begins a session at an opener.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// A grant, which the opener verifies.
    Grant(String),
    /// In simple mode nothing proves that a platform has asked.
    Unproven(Request),
}

/// Sends the answer to a client's request that cannot be carried out.
pub(crate) fn note(notes: &mpsc::Sender<String>, what: &str, message: String) {
    // A client that asks faster than it reads the answers does not get them all.
    let _ = notes.try_send(to_text(&FromHost::Refused { what: what.into(), message }));
}

/// The refusal when the opener does not work.
pub(crate) fn no_opener(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, format!("the opener of this host does not answer: {why}"))
}
