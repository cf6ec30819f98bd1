//! What a container wrote to its output, as the engine kept it.

use std::time::{Duration, SystemTime};

use super::super::log;
use super::super::opened::{OpenError, Opened, Output};
use super::ending::Ending;
use super::engine::Api;
use super::found::Found;
use super::frames::Frames;
use crate::protocol::grant::unix;

/// Lines shown first where the owner does not say.
const LINES: u32 = 10;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logs {
    pub(super) lines: Option<u32>,
    /// How far back it begins.
    pub(super) since: Option<Duration>,
    pub(super) with_time: bool,
    pub(super) is_raw: bool,
}

impl Logs {
    pub(super) async fn follow(&self, api: Api, found: Found) -> Result<Opened, OpenError> {
        let since = self.since.map(|ago| unix(SystemTime::now() - ago));
        let reader = Reader { api, found: found.into(), with_time: self.with_time };
        let output = reader.read(since, self.lines).await?;
        let again = move |time| -> log::Opening {
            let reader = reader.clone();
            Box::pin(async move { reader.read(Some(time), None).await })
        };
        Ok(log::opened(output, self.is_raw, Some(Box::new(again))))
    }
}

#[derive(Clone)]
struct Reader {
    api: Api,
    found: std::sync::Arc<Found>,
    with_time: bool,
}

impl Reader {
    async fn read(&self, since: Option<u64>, lines: Option<u32>) -> Result<Output, OpenError> {
        let Reader { api, found, with_time } = self;
        let tail = match (lines, since) {
            (Some(lines), _) => lines.to_string(),
            (None, Some(_)) => "all".to_owned(),
            (None, None) => LINES.to_string(),
        };
        let path = format!(
            "/containers/{}/logs?follow=1&stdout=1&stderr=1&tail={tail}&since={}&timestamps={}",
            found.id,
            since.unwrap_or(0),
            u8::from(*with_time),
        );
        let output = api.follow(&path).await.map_err(|error| api.engine.explained(error))?;
        let output: Output = if found.has_tty { Box::new(output) } else { Box::new(Frames::new(output)) };
        let (api, found) = (api.clone(), found.clone());
        let why = Box::pin(async move { found.over(&api).await?.status().map(drop) });
        Ok(Box::new(Ending::new(output, why)))
    }
}
