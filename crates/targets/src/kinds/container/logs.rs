//! The output of a container, as its engine keeps it.

use std::time::{Duration, SystemTime};

use super::checked::CheckedOutput;
use super::engine::Api;
use super::frames::Frames;
use super::info::ContainerInfo;
use crate::support::log;
use crate::support::opened::{OpenError, Opened, Output};
use protocol::grant::unix;

/// How many of the last lines are shown if the owner does not say.
const LINES: u32 = 10;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logs {
    pub(super) lines: Option<u32>,
    /// The age of the oldest line that is shown.
    pub(super) since: Option<Duration>,
    pub(super) with_time: bool,
    pub(super) is_raw: bool,
}

impl Logs {
    pub(super) async fn follow(&self, api: Api, info: ContainerInfo) -> Result<Opened, OpenError> {
        let since = self.since.map(|ago| unix(SystemTime::now() - ago));
        let source = LogSource { api, info: info.into(), with_time: self.with_time };
        let output = source.read(since, self.lines).await?;
        let again = move |time| -> log::Reopening {
            let source = source.clone();
            Box::pin(async move { source.read(Some(time), None).await })
        };
        Ok(log::opened(output, self.is_raw, Some(Box::new(again))))
    }
}

#[derive(Clone)]
struct LogSource {
    api: Api,
    info: std::sync::Arc<ContainerInfo>,
    with_time: bool,
}

impl LogSource {
    async fn read(&self, since: Option<u64>, lines: Option<u32>) -> Result<Output, OpenError> {
        let LogSource { api, info, with_time } = self;
        let tail = match (lines, since) {
            (Some(lines), _) => lines.to_string(),
            (None, Some(_)) => "all".to_owned(),
            (None, None) => LINES.to_string(),
        };
        let path = format!(
            "/containers/{}/logs?follow=1&stdout=1&stderr=1&tail={tail}&since={}&timestamps={}",
            info.id,
            since.unwrap_or(0),
            u8::from(*with_time),
        );
        let output = api.follow(&path).await.map_err(|error| api.engine.explained(error))?;
        let output: Output = if info.has_tty { Box::new(output) } else { Box::new(Frames::new(output)) };
        let (api, info) = (api.clone(), info.clone());
        let why = Box::pin(async move { info.exit_state(&api).await?.status().map(drop) });
        Ok(Box::new(CheckedOutput::new(output, why)))
    }
}
