//! A session as the API shows it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use humantime_serde::re::humantime::format_rfc3339_seconds;
use serde::Serialize;

use protocol::end::End;
use protocol::host::HostId;
use protocol::mode::Mode;

use crate::session_index::{Phase, Session};

/// What is not known is left out.
#[derive(Serialize)]
pub(super) struct SessionView<'a> {
    session: &'a str,
    host: &'a HostId,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    params: &'a BTreeMap<String, String>,
    state: &'static str,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    streams: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> SessionView<'a> {
    pub(super) fn new(id: &'a str, session: &'a Session) -> SessionView<'a> {
        let time = |time: SystemTime| format_rfc3339_seconds(time).to_string();
        SessionView {
            session: id,
            host: &session.host,
            target: &session.target,
            user: session.user.as_deref(),
            key: session.own.as_ref().map(|own| own.key.as_str()),
            mode: session.mode,
            params: &session.params,
            state: match session.phase() {
                Phase::Waiting => "waiting",
                Phase::Open => "open",
                Phase::Ended => "ended",
            },
            created: time(session.created),
            started: session.started.map(time),
            ended: session.ended.map(time),
            streams: session.streams,
            peer: session.peer,
            bytes_in: session.bytes.map(|(bytes_in, _)| bytes_in),
            bytes_out: session.bytes.map(|(_, bytes_out)| bytes_out),
            code: session.code,
            reason: reason(session),
        }
    }
}

/// The reason in the words that clients get: the record's own words may have addresses of the host.
fn reason(session: &Session) -> Option<&'static str> {
    match (session.code.and_then(End::from_code), session.phase(), session.started) {
        (Some(end), ..) => Some(end.reason()),
        (None, Phase::Ended, None) => Some("no client came in time"),
        _ => None,
    }
}
